//! What Prometheus is told, read.

use std::collections::BTreeMap;

use hyper::Method;

use super::Client;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One scrape.
pub struct Scrape {
    /// By `name{label="value",…}`, labels sorted.
    pub samples: BTreeMap<String, f64>,
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
    /// The traces that are named beside samples.
    pub exemplars: Vec<String>,
}

impl Scrape {
    pub async fn of(client: &Client) -> Self {
        let reply = client.send(Method::GET, "/metrics", &[], "").await.unwrap().expect(200);
        assert_eq!(reply.header("content-type"), Some(OPEN_METRICS));
        let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
        let body = text.strip_suffix("# EOF\n").expect("it says where it ends");
        let (mut samples, mut types, mut exemplars) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for line in body.lines() {
            if let Some(said) = line.strip_prefix("# ") {
                let (what, rest) = said.split_once(' ').unwrap();
                let (name, value) = rest.split_once(' ').unwrap();
                match what {
                    "TYPE" => {
                        assert!(types.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {line}")
                    }
                    "HELP" | "UNIT" => {}
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (sample, exemplar) = line.split_once(" # ").map_or((line, None), |(s, e)| (s, Some(e)));
            exemplars.extend(exemplar.map(str::to_owned));
            let (name, value) = sample.rsplit_once(' ').unwrap();
            assert!(samples.insert(sorted(name), value.parse().unwrap()).is_none(), "twice: {line}");
        }
        Self { samples, types, exemplars }
    }

    /// A sample by its name after `holdfast_`, 0 if there is none yet.
    pub fn get(&self, name: &str) -> f64 {
        self.samples.get(&sorted(&format!("holdfast_{name}"))).copied().unwrap_or_default()
    }

    /// How many samples there are of the metrics that begin so.
    pub fn count(&self, prefix: &str) -> usize {
        self.samples.keys().filter(|name| name.starts_with(prefix)).count()
    }
}

fn sorted(name: &str) -> String {
    let Some((name, labels)) = name.split_once('{') else { return name.to_owned() };
    let mut labels: Vec<_> = labels.strip_suffix('}').unwrap().split(',').collect();
    labels.sort_unstable();
    for label in &labels {
        let (key, value) = label.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quoted");
        let is_a_word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(["le", "method", "route", "status", "version"].contains(&key) || is_a_word, "{label}");
    }
    format!("{name}{{{}}}", labels.join(","))
}
