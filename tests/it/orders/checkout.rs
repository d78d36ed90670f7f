//! What `docs/CHECKOUT.md` prints is run as it stands there.

use std::process::Stdio;

use crate::support::{ADMIN_KEY, TestApp};

/// Waits for no answer longer.
const SECONDS_MAX: &str = "20";

/// All of the page's shell, but for the line that says where the service is.
fn printed() -> String {
    let page = include_str!("../../../docs/CHECKOUT.md");
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.starts_with("export URL="));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_page_on_checkout_does_what_it_says() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let place = std::env::temp_dir().join(format!("holdfast-{variant}"));
    std::fs::create_dir(&place).unwrap();
    let shell = tokio::process::Command::new("bash")
        .args(["-eu", "-c", &printed().replace("curl -s", &format!("curl -s -m {SECONDS_MAX}"))])
        .env("URL", format!("http://{}", app.client.address))
        .env("KEY", ADMIN_KEY)
        .current_dir(&place)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("bash and curl are there");
    std::fs::remove_dir_all(&place).unwrap();
    let (out, err) = (String::from_utf8_lossy(&shell.stdout), String::from_utf8_lossy(&shell.stderr));
    assert!(shell.status.success(), "{out}{err}");
    let told = |answer: &str| {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        ["state", "code", "status"].iter().find_map(|name| answer[name].as_str().map(str::to_owned))
    };
    let answers: Vec<_> = out.lines().filter(|line| !line.is_empty()).filter_map(told).collect();
    assert_eq!(
        answers,
        [
            "held",
            "held",
            "placed",
            "placed",
            "held",
            "held",
            "released",
            "hold_released",
            "placed",
            "cancelled"
        ]
    );
    // The order that was placed again is all that is left of it.
    assert_eq!(app.client.on_hand(variant).await, 8);
    app.finish().await;
}
