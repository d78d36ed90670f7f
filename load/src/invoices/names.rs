//! What vendors are called, and that some have namesakes.

use crate::chance::Chance;

const FIRST: [&str; 40] = [
    "Northwind",
    "Alder",
    "Bright",
    "Cobalt",
    "Dover",
    "Elm Street",
    "Falcon",
    "Granite",
    "Harbour",
    "Ivory",
    "Juniper",
    "Kestrel",
    "Lindner",
    "Meridian",
    "Noble",
    "Orchard",
    "Pioneer",
    "Quarry",
    "Rowan",
    "Sterling",
    "Thistle",
    "Union",
    "Vega",
    "Weber",
    "Yarrow",
    "Zenith",
    "Müller",
    "Fournier",
    "Kowalski",
    "Rossi",
    "García",
    "Schäfer",
    "Andersen",
    "Okafor",
    "Tanaka",
    "Novák",
    "Dubois",
    "Bianchi",
    "Larsen",
    "Petrov",
];
const TRADE: [&str; 18] = [
    "Traders",
    "Logistics",
    "Packaging",
    "Bakery",
    "Tools",
    "Office Supply",
    "Energy",
    "Telecom",
    "Printing",
    "Foods",
    "Timber",
    "Cleaning",
    "Electric",
    "Textiles",
    "Chemicals",
    "Paper",
    "Software",
    "Transport",
];
const FORM: [&str; 7] = ["Ltd", "GmbH", "Inc.", "S.A.", "B.V.", "LLC", ""];
/// Where those of one name are told apart by.
const TOWN: [&str; 6] = ["Bonn", "Leeds", "Lyon", "Porto", "Turin", "Gent"];
/// The share of vendors that have a sister, in another town, under the same name.
const SISTERS: f64 = 0.06;

/// The vendors of one account, each with another name.
pub fn names(chance: &mut Chance, vendors: usize) -> Vec<String> {
    let mut all: Vec<String> =
        FIRST.iter().flat_map(|first| TRADE.iter().map(move |trade| format!("{first} {trade}"))).collect();
    chance.shuffle(&mut all);
    all.truncate(vendors);
    for place in 1..all.len() {
        if chance.falls_within(SISTERS) {
            all[place] = format!("{} {}", all[place - 1], TOWN[chance.below(TOWN.len())]);
        }
    }
    let formed = |name: &String| {
        let form = FORM[chance.below(FORM.len())];
        if form.is_empty() { name.clone() } else { format!("{name} {form}") }
    };
    all.iter().map(formed).collect()
}
