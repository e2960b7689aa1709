//! Cosignatures of witnesses: whose are looked for on a checkpoint, and how many there have to be.

use ledger::{Checkpoint, WitnessKey};
use serde_json::{Value, json};

use super::usage;
use crate::output::time_of;

/// Witnesses that somebody who verifies relies on.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Key of a witness, as `ledger witness new` printed it; may be given several times [default: those in the settings of
    /// the authority in the data folder].
    #[arg(long, value_name = "KEY")]
    witness: Vec<WitnessKey>,
    /// How many of the witnesses must have cosigned the checkpoint.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    cosignatures: usize,
}

/// What was found.
pub(super) struct Cosigned {
    wanted: usize,
    witnesses: Vec<(WitnessKey, Standing)>,
}

/// How one witness stands to the checkpoint.
enum Standing {
    /// It cosigned, at a time by its own clock in seconds since 1970.
    Cosigned(u64),
    /// It did not.
    Absent,
    /// There is a cosignature in its name that it did not make.
    Wrong,
}

impl Wanted {
    /// Looks for the cosignatures of the witnesses that were named, or else of these.
    pub(super) fn find(
        &self,
        checkpoint: Option<&Checkpoint>,
        usual: &[WitnessKey],
    ) -> anyhow::Result<Cosigned> {
        let named = match self.witness.as_slice() {
            [] => usual,
            named => named,
        };
        // One that is named twice is one.
        let mut known: Vec<&WitnessKey> = Vec::new();
        for key in named {
            if !known
                .iter()
                .any(|other| other.to_string() == key.to_string())
            {
                known.push(key);
            }
        }
        if self.cosignatures > known.len() {
            return Err(usage(format!(
                "--cosignatures {} asks for more witnesses than the {} that are known here; name them with --witness KEY",
                self.cosignatures,
                known.len()
            )));
        }
        let stands = |key: &WitnessKey| match checkpoint {
            None => Standing::Absent,
            Some(checkpoint) => match checkpoint.cosignatures(std::slice::from_ref(key)) {
                Err(_) => Standing::Wrong,
                Ok(found) => match found.first() {
                    Some(cosignature) => Standing::Cosigned(cosignature.time),
                    None => Standing::Absent,
                },
            },
        };
        Ok(Cosigned {
            wanted: self.cosignatures,
            witnesses: known
                .into_iter()
                .map(|key| (key.clone(), stands(key)))
                .collect(),
        })
    }
}

impl Cosigned {
    /// Whether there are as many as were asked for, and none that is wrong.
    pub(super) fn is_good(&self) -> bool {
        let is_wrong = |(_, standing): &(WitnessKey, Standing)| matches!(standing, Standing::Wrong);
        self.given() >= self.wanted && !self.witnesses.iter().any(is_wrong)
    }

    /// One line for each witness, and one if there are too few.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (key, standing) in &self.witnesses {
            let name = key.name();
            text.push_str(&match standing {
                Standing::Cosigned(time) => format!("cosigned by {name} at {}\n", shown(*time)),
                Standing::Absent => format!("not cosigned by {name}\n"),
                Standing::Wrong => format!("the cosignature of {name} is WRONG\n"),
            });
        }
        let given = self.given();
        if given < self.wanted {
            text.push_str(&format!(
                "NOT COSIGNED by enough witnesses: {given} of {}\n",
                self.wanted
            ));
        }
        text
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let witnesses = self.witnesses.iter().map(|(key, standing)| {
            let (state, time) = match standing {
                Standing::Cosigned(time) => ("cosigned", Some(*time)),
                Standing::Absent => ("absent", None),
                Standing::Wrong => ("wrong", None),
            };
            json!({ "witness": key.to_string(), "state": state, "time": time })
        });
        Value::Array(witnesses.collect())
    }

    fn given(&self) -> usize {
        self.witnesses
            .iter()
            .filter(|(_, standing)| matches!(standing, Standing::Cosigned(_)))
            .count()
    }
}

fn shown(seconds: u64) -> String {
    time_of(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use ledger::CosigningKey;

    use super::*;

    fn key(name: &str) -> WitnessKey {
        let key = CosigningKey::from_seed(name, &[7; 32]).unwrap();
        key.public().clone()
    }

    fn wanted(witness: Vec<WitnessKey>, cosignatures: usize) -> Wanted {
        Wanted {
            witness,
            cosignatures,
        }
    }

    #[test]
    fn a_witness_named_twice_counts_once() {
        let twice = wanted(vec![key("a.example.com"), key("a.example.com")], 2);
        let error = twice.find(None, &[]).err().unwrap();
        assert!(error.to_string().contains("--witness KEY"), "{error}");
    }

    #[test]
    fn those_of_the_settings_count_only_if_none_is_named() {
        let usual = [key("a.example.com"), key("b.example.com")];
        assert!(wanted(Vec::new(), 2).find(None, &usual).is_ok());
        assert!(
            wanted(vec![key("c.example.com")], 2)
                .find(None, &usual)
                .is_err()
        );
        let found = wanted(Vec::new(), 1).find(None, &usual).unwrap();
        assert!(!found.is_good());
        assert_eq!(
            found.to_text(),
            "not cosigned by a.example.com\nnot cosigned by b.example.com\n\
             NOT COSIGNED by enough witnesses: 0 of 1\n"
        );
        assert!(wanted(Vec::new(), 0).find(None, &usual).unwrap().is_good());
    }
}
