//! One buyer: who it is, what it decides, and how it says what it wants.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::{Arrival, Client, Stage};
use crate::chance::Chance;
use crate::connection::Call;
use crate::verdict::Told;

/// Somebody who has come.
#[derive(Debug)]
pub struct Buyer {
    pub stage: Rc<Stage>,
    /// What it decides: the same in every run with the same seed.
    pub chance: Chance,
    number: u64,
    client: Client,
    /// Since when its first request is due.
    due: Option<Instant>,
}

impl Buyer {
    /// Who came, with the client that serves it.
    pub fn new(stage: &Rc<Stage>, arrival: Arrival, client: Client) -> Self {
        let chance = Chance::of(&format!("{}-{}", stage.seed, arrival.number));
        Self { stage: Rc::clone(stage), chance, number: arrival.number, client, due: arrival.due }
    }

    /// Its user id, which nobody else has.
    pub fn user(&self) -> String {
        format!("{}-{}", self.stage.run, self.number)
    }

    /// A key or event id that nobody else has, but for `what` once.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{}-{what}", self.stage.run, self.number)
    }

    /// Says a request until it is settled.
    pub async fn say(&mut self, call: &Call) -> anyhow::Result<Told> {
        let due = self.due.take().unwrap_or_else(Instant::now);
        let caller = self.client.first_mut().context("a buyer without a client")?;
        Ok(Told::by(caller, call, self.stage.turn.next(), due).await)
    }

    /// Says several at once, each on a line of its own, to whichever replica's turn it is.
    pub async fn say_at_once(&mut self, calls: &[Call]) -> anyhow::Result<Vec<Told>> {
        anyhow::ensure!(calls.len() <= self.client.len(), "{} requests at once are too many", calls.len());
        let due = self.due.take().unwrap_or_else(Instant::now);
        let rest = self.client.split_off(calls.len());
        let mut under_way = JoinSet::new();
        for (place, (mut caller, call)) in self.client.drain(..).zip(calls.iter().cloned()).enumerate() {
            let position = self.stage.turn.next();
            under_way.spawn_local(async move {
                let told = Told::by(&mut caller, &call, position, due).await;
                (place, caller, told)
            });
        }
        let mut said = Vec::with_capacity(calls.len());
        while let Some(one) = under_way.join_next().await {
            said.push(one.context("a request stopped in the middle")?);
        }
        said.sort_unstable_by_key(|(place, ..)| *place);
        let mut all = Vec::with_capacity(said.len());
        for (_, caller, told) in said {
            self.client.push(caller);
            all.push(told);
        }
        self.client.extend(rest);
        Ok(all)
    }

    /// Thinks, or pays, for a while.
    pub async fn pause(&self, length: Duration) {
        sleep(length).await;
    }

    /// Goes away and comes back: meanwhile its client serves others.
    pub async fn away_until(&mut self, moment: Instant) -> anyhow::Result<()> {
        self.leave();
        sleep_until(moment.into()).await;
        self.client = self.stage.clients.take().await?;
        Ok(())
    }

    /// Goes for good.
    pub fn leave(&mut self) {
        if !self.client.is_empty() {
            self.stage.clients.give_back(std::mem::take(&mut self.client));
        }
    }
}
