//! The shop as one would describe it on paper: no database, no locks, nothing at the same time. It says what the service
//! must answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is asked of the shop. Whatever is named by a number is the so-manieth that was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Create {
        on_hand: i64,
    },
    Change(Change),
    Batch {
        atomic: bool,
        changes: Vec<Change>,
    },
    Place {
        user: usize,
        lines: Vec<Line>,
    },
    Cancel {
        order: usize,
        lines: Option<Vec<Line>>,
        by: By,
    },
    /// By a webhook, before there is an order of the user's next key.
    CancelEarly {
        user: usize,
    },
    Hold {
        user: usize,
        lines: Vec<Line>,
    },
    Capture {
        hold: usize,
        lines: Option<Vec<Line>>,
    },
    Release {
        hold: usize,
    },
    Extend {
        hold: usize,
    },
    /// The time of a hold is over: nobody asks for that, it happens.
    Lapse {
        hold: usize,
    },
    /// What is over is written down: that must change nothing.
    Sweep,
    /// The same call or event once more.
    Repeat {
        sent: usize,
    },
    /// Its key or id with another request.
    Misuse {
        sent: usize,
    },
}

/// So many of a variant, or of a line.
pub type Line = (usize, i64);

/// Who cancels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum By {
    Call,
    WebhookById,
    WebhookByKey,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    pub verb: Verb,
    pub variant: usize,
    /// Not 0; below it only to adjust.
    pub units: i64,
    /// What is believed to be on hand, to adjust.
    pub believed: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verb {
    Decrement,
    Increment,
    Adjust,
}

/// What must be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The name of the refusal; empty if it is none.
    pub code: &'static str,
    /// What the body must say, by JSON pointer.
    pub fields: Vec<(String, Value)>,
    pub is_replayed: bool,
}

#[derive(Debug, Default)]
pub struct Shop {
    pub variants: Vec<Variant>,
    pub orders: Vec<Order>,
    pub holds: Vec<Hold>,
    /// Calls and events that the service remembers, and what they were answered.
    pub sent: Vec<(Ask, Answer)>,
    /// How many keys each user has used for orders.
    keys: BTreeMap<usize, usize>,
    /// Keys whose order is to be born cancelled.
    early: BTreeSet<(usize, usize)>,
}

#[derive(Debug)]
pub struct Variant {
    pub on_hand: i64,
    pub version: i64,
}

#[derive(Debug)]
pub struct Order {
    pub user: usize,
    pub key: usize,
    pub lines: Vec<Line>,
    pub cancelled: Vec<i64>,
}

#[derive(Debug)]
pub struct Hold {
    pub user: usize,
    pub lines: Vec<Line>,
    pub state: &'static str,
}

const LIVE_HOLDS_MAX: usize = 20;

/// What one of a variant costs, in cents.
pub fn price(variant: usize) -> i64 {
    [150, 225, 10, 999][variant % 4]
}

/// Cents, as they are written.
pub fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn total(lines: &[Line]) -> String {
    amount(lines.iter().map(|(variant, units)| price(*variant) * units).sum())
}

/// The sum for each variant or line.
fn together(lines: &[Line]) -> BTreeMap<usize, i64> {
    let mut sums = BTreeMap::new();
    for (which, units) in lines {
        *sums.entry(*which).or_default() += units;
    }
    sums
}

impl Answer {
    fn done(status: u16, fields: &[(&str, Value)]) -> Self {
        let fields = fields.iter().map(|(at, value)| ((*at).to_owned(), value.clone())).collect();
        Self { status, code: "", fields, is_replayed: false }
    }

    fn refused(status: u16, code: &'static str) -> Self {
        Self { status, code, fields: Vec::new(), is_replayed: false }
    }

    /// Says in what an answer is not this one.
    pub fn differs(&self, status: u16, is_replayed: bool, body: &Value) -> Option<String> {
        let code = body["code"].as_str().unwrap_or_default();
        if (status, code, is_replayed) != (self.status, self.code, self.is_replayed) {
            return Some(format!(
                "{self:?} was to be answered, not {status}, replayed {is_replayed}: {body}"
            ));
        }
        let wrong = |(at, value): &&(String, Value)| body.pointer(at) != Some(value);
        self.fields.iter().find(wrong).map(|(at, value)| format!("{at} is to be {value} in {body}"))
    }
}

impl Order {
    pub fn status(&self) -> &'static str {
        let ordered: i64 = self.lines.iter().map(|(_, units)| units).sum();
        match self.cancelled.iter().sum::<i64>() {
            0 => "placed",
            cancelled if cancelled == ordered => "cancelled",
            _ => "partly_cancelled",
        }
    }

    pub fn answer(&self, status: u16) -> Answer {
        let fields = [("/status", json!(self.status())), ("/total", json!(total(&self.lines)))];
        let mut answer = Answer::done(status, &fields);
        for (place, cancelled) in self.cancelled.iter().enumerate() {
            answer.fields.push((format!("/lines/{place}/quantity"), json!(self.lines[place].1)));
            answer.fields.push((format!("/lines/{place}/cancelled_quantity"), json!(cancelled)));
        }
        answer
    }
}

impl Hold {
    pub fn answer(&self, status: u16) -> Answer {
        Answer::done(status, &[("/state", json!(self.state)), ("/total", json!(total(&self.lines)))])
    }

    fn ended(&self) -> Option<Answer> {
        let code = match self.state {
            "held" => return None,
            "captured" => "hold_captured",
            "released" => "hold_released",
            _ => "hold_expired",
        };
        Some(Answer::refused(409, code))
    }
}

impl Shop {
    pub fn held(&self, variant: usize) -> i64 {
        let live = self.holds.iter().filter(|hold| hold.state == "held").flat_map(|hold| &hold.lines);
        live.filter(|(which, _)| *which == variant).map(|(_, units)| units).sum()
    }

    pub fn available(&self, variant: usize) -> i64 {
        (self.variants[variant].on_hand - self.held(variant)).max(0)
    }

    /// The key that the user's next order will have.
    pub fn next_key(&self, user: usize) -> usize {
        self.keys.get(&user).copied().unwrap_or_default()
    }

    /// What must be answered, if it is a call or an event. Refusals change nothing.
    pub fn answer(&mut self, ask: &Ask) -> Option<Answer> {
        let answer = match ask {
            Ask::Lapse { hold } => {
                self.holds[*hold].state = "expired";
                return None;
            }
            Ask::Sweep => return None,
            Ask::Repeat { sent } => return Some(self.repeat(*sent)),
            Ask::Misuse { sent } => {
                let code = if self.sent[*sent].0.is_event() {
                    "webhook_id_reused"
                } else {
                    "idempotency_key_reused"
                };
                return Some(Answer::refused(422, code));
            }
            new => self.once(new),
        };
        if answer.status < 300 || answer.status == 409 {
            self.sent.push((ask.clone(), answer.clone()));
        }
        Some(answer)
    }

    /// What is remembered of a call is told again, as it was. An event that was refused is looked at anew.
    fn repeat(&mut self, sent: usize) -> Answer {
        let (ask, first) = self.sent[sent].clone();
        if !ask.is_event() {
            return Answer { is_replayed: true, ..first };
        }
        if first.status == 200 {
            let mut answer = first;
            answer.fields.push(("/duplicate".to_owned(), json!(true)));
            return answer;
        }
        let answer = self.once(&ask);
        self.sent[sent].1 = answer.clone();
        answer
    }

    fn once(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Create { on_hand } => {
                self.variants.push(Variant { on_hand: *on_hand, version: i64::from(*on_hand > 0) });
                Answer::done(201, &[("/on_hand", json!(on_hand))])
            }
            Ask::Change(change) => self.change(change).map_or_else(
                |code| Answer::refused(409, code),
                |(delta, new)| {
                    let version = self.variants[change.variant].version;
                    let fields = [("/delta", delta), ("/new_quantity", new), ("/version", version)];
                    Answer::done(200, &fields.map(|(at, number)| (at, json!(number))))
                },
            ),
            Ask::Batch { atomic, changes } => self.batch(*atomic, changes),
            Ask::Place { user, lines } => self.place(*user, lines),
            Ask::Cancel { order, lines, by } => self.cancel(*order, lines.as_deref(), *by),
            Ask::CancelEarly { user } => {
                self.early.insert((*user, self.next_key(*user)));
                Answer::done(200, &[("/result", json!("waiting_for_order"))])
            }
            Ask::Hold { user, lines } => self.hold(*user, lines),
            Ask::Capture { hold, lines } => self.capture(*hold, lines.as_deref()),
            Ask::Release { hold } => self.holds[*hold].ended().unwrap_or_else(|| {
                self.holds[*hold].state = "released";
                self.holds[*hold].answer(200)
            }),
            Ask::Extend { hold } => {
                self.holds[*hold].ended().unwrap_or_else(|| self.holds[*hold].answer(200))
            }
            Ask::Lapse { .. } | Ask::Sweep | Ask::Repeat { .. } | Ask::Misuse { .. } => unreachable!(),
        }
    }

    /// By how much it changed, and to what.
    fn change(&mut self, change: &Change) -> Result<(i64, i64), &'static str> {
        let (on_hand, available) = (self.variants[change.variant].on_hand, self.available(change.variant));
        let delta = match change.verb {
            Verb::Decrement if change.units > available => return Err("insufficient_stock"),
            Verb::Decrement => -change.units,
            Verb::Increment => change.units,
            Verb::Adjust if change.believed.is_some_and(|believed| believed != on_hand) => {
                return Err("stale_quantity");
            }
            Verb::Adjust if on_hand + change.units < 0 => return Err("insufficient_stock"),
            Verb::Adjust => change.units,
        };
        self.moved(change.variant, delta);
        Ok((delta, on_hand + delta))
    }

    fn moved(&mut self, variant: usize, delta: i64) {
        let variant = &mut self.variants[variant];
        (variant.on_hand, variant.version) = (variant.on_hand + delta, variant.version + 1);
    }

    fn batch(&mut self, atomic: bool, changes: &[Change]) -> Answer {
        let before: Vec<_> = self.variants.iter().map(|variant| (variant.on_hand, variant.version)).collect();
        let results: Vec<_> = changes.iter().map(|change| self.change(change)).collect();
        let mut refused = results.iter().filter_map(|result| result.err()).peekable();
        if atomic && refused.peek().is_some() {
            let are_short = refused.all(|code| code == "insufficient_stock");
            for (variant, (on_hand, version)) in self.variants.iter_mut().zip(before) {
                (variant.on_hand, variant.version) = (on_hand, version);
            }
            return Answer::refused(409, if are_short { "insufficient_stock" } else { "batch_refused" });
        }
        let mut answer = Answer::done(200, &[]);
        for (place, result) in results.into_iter().enumerate() {
            let (status, at, value) = match result {
                Ok((_, new)) => (200, "movement/new_quantity", json!(new)),
                Err(code) => (409, "error/code", json!(code)),
            };
            answer.fields.push((format!("/results/{place}/status"), json!(status)));
            answer.fields.push((format!("/results/{place}/{at}"), value));
        }
        answer
    }

    fn is_short(&self, lines: &[Line]) -> bool {
        together(lines).iter().any(|(variant, units)| *units > self.available(*variant))
    }

    /// The key of a new order, and whether it was cancelled before.
    fn use_key(&mut self, user: usize) -> (usize, bool) {
        let key = self.next_key(user);
        self.keys.insert(user, key + 1);
        (key, self.early.contains(&(user, key)))
    }

    fn place(&mut self, user: usize, lines: &[Line]) -> Answer {
        let (key, is_cancelled) = self.use_key(user);
        if !is_cancelled && self.is_short(lines) {
            return Answer::refused(409, "insufficient_stock");
        }
        self.sell(user, key, lines, is_cancelled)
    }

    fn sell(&mut self, user: usize, key: usize, lines: &[Line], is_cancelled: bool) -> Answer {
        for (variant, units) in lines.iter().filter(|_| !is_cancelled) {
            self.moved(*variant, -units);
        }
        let cancelled = lines.iter().map(|(_, units)| if is_cancelled { *units } else { 0 }).collect();
        self.orders.push(Order { user, key, lines: lines.to_vec(), cancelled });
        self.orders[self.orders.len() - 1].answer(201)
    }

    fn cancel(&mut self, order: usize, lines: Option<&[Line]>, by: By) -> Answer {
        let left = |order: &Order, line: usize| order.lines[line].1 - order.cancelled[line];
        let cancelled = &self.orders[order];
        let all = || (0..cancelled.lines.len()).map(|line| (line, left(cancelled, line))).collect::<Vec<_>>();
        let wanted = together(&lines.map_or_else(all, <[Line]>::to_vec));
        if wanted.iter().any(|(line, units)| *units > left(cancelled, *line)) {
            return Answer::refused(409, "cancel_exceeds_ordered");
        }
        let cancels_some = wanted.values().any(|units| *units > 0);
        for (line, units) in wanted.into_iter().filter(|(_, units)| *units > 0) {
            self.orders[order].cancelled[line] += units;
            self.moved(self.orders[order].lines[line].0, units);
        }
        match (by, cancels_some) {
            (By::Call, _) => self.orders[order].answer(200),
            (_, true) => Answer::done(200, &[("/result", json!("cancelled"))]),
            (_, false) => Answer::done(200, &[("/result", json!("already_cancelled"))]),
        }
    }

    fn hold(&mut self, user: usize, lines: &[Line]) -> Answer {
        let live = self.holds.iter().filter(|hold| hold.user == user && hold.state == "held").count();
        if live >= LIVE_HOLDS_MAX {
            return Answer::refused(429, "too_many_holds");
        }
        if self.is_short(lines) {
            return Answer::refused(409, "insufficient_stock");
        }
        self.holds.push(Hold { user, lines: lines.to_vec(), state: "held" });
        self.holds[self.holds.len() - 1].answer(201)
    }

    fn capture(&mut self, hold: usize, lines: Option<&[Line]>) -> Answer {
        let (key, is_cancelled) = self.use_key(self.holds[hold].user);
        if let Some(ended) = self.holds[hold].ended() {
            return ended;
        }
        let held = self.holds[hold].lines.clone();
        let all = || held.iter().map(|(_, units)| *units).enumerate().collect::<Vec<_>>();
        let wanted = together(&lines.map_or_else(all, <[Line]>::to_vec));
        if wanted.iter().any(|(line, units)| *units > held[*line].1) {
            return Answer::refused(409, "capture_exceeds_held");
        }
        let taken: Vec<_> = wanted.into_iter().map(|(line, units)| (held[line].0, units)).collect();
        // Its own stock is kept for it; only a correction can have left less than that.
        let is_short =
            together(&taken).iter().any(|(variant, units)| *units > self.variants[*variant].on_hand);
        if !is_cancelled && is_short {
            return Answer::refused(409, "insufficient_stock");
        }
        self.holds[hold].state = "captured";
        self.sell(self.holds[hold].user, key, &taken, is_cancelled)
    }
}

impl Ask {
    pub fn is_event(&self) -> bool {
        match self {
            Self::Cancel { by, .. } => *by != By::Call,
            ask => matches!(ask, Self::CancelEarly { .. }),
        }
    }
}

#[test]
fn the_model_takes_its_own_answer_and_no_other() {
    let mut shop = Shop::default();
    shop.answer(&Ask::Create { on_hand: 3 });
    let sale = |units| Ask::Change(Change { verb: Verb::Decrement, variant: 0, units, believed: None });
    let right = json!({"delta": -2, "new_quantity": 1, "version": 2, "reason": null});
    let sold = shop.answer(&sale(2)).unwrap();
    assert_eq!(sold.differs(200, false, &right), None);
    for at in ["delta", "new_quantity", "version"] {
        let mut wrong = right.clone();
        wrong[at] = json!(wrong[at].as_i64().unwrap() + 1);
        assert!(sold.differs(200, false, &wrong).is_some(), "{at}");
        wrong.as_object_mut().unwrap().remove(at);
        assert!(sold.differs(200, false, &wrong).is_some(), "{at}");
    }
    let short = json!({"code": "insufficient_stock"});
    for (status, is_replayed, body) in
        [(201, false, &right), (200, true, &right), (409, false, &short), (200, false, &short)]
    {
        assert!(sold.differs(status, is_replayed, body).is_some(), "{status} {body}");
    }
    let refused = shop.answer(&sale(2)).unwrap();
    assert_eq!(refused.differs(409, false, &short), None);
    assert!(refused.differs(200, false, &right).is_some() && refused.differs(503, false, &short).is_some());
    assert!(refused.differs(409, false, &json!({"code": "stale_quantity"})).is_some());
}
