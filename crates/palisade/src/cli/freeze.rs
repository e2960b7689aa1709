use clap::Subcommand;
use intent::action::FreezeScope;
use intent::{Action, CredentialId, Fleet, Principal};

use super::Ending;
use super::asking::Asking;
use crate::output::Format;

/// Stop signing, effective on the next signature: for everything, a fleet, a person or machine, a key or passkey.
#[derive(Debug, clap::Args)]
#[command(after_help = FREEZE_AFTER_HELP)]
pub(crate) struct FreezeArgs {
    #[command(subcommand)]
    what: What,
}

/// Sign again. Needs two people.
#[derive(Debug, clap::Args)]
#[command(after_help = THAW_AFTER_HELP)]
pub(crate) struct ThawArgs {
    #[command(subcommand)]
    what: What,
}

const FREEZE_AFTER_HELP: &str = "\
Freezing needs no approval, because stopping must be quick. What was signed before is with the devices
and cannot be called back. `palisade policy show` lists what is frozen.

Examples:
  palisade freeze everything --note 'the key of ci was stolen'
  palisade freeze principal ci";

const THAW_AFTER_HELP: &str = "\
Examples:
  palisade thaw everything --note 'ci has another key'";

#[derive(Debug, Subcommand)]
enum What {
    /// Everything that devices could be told.
    Everything {
        #[command(flatten)]
        asking: Asking,
    },
    /// What devices of one fleet are told.
    Fleet {
        /// Which.
        fleet: Fleet,
        #[command(flatten)]
        asking: Asking,
    },
    /// What a person or machine proposed.
    Principal {
        /// Who.
        name: Principal,
        #[command(flatten)]
        asking: Asking,
    },
    /// What was proposed with one key or passkey.
    Credential {
        /// Its id.
        #[arg(allow_hyphen_values = true)]
        id: CredentialId,
        #[command(flatten)]
        asking: Asking,
    },
}

impl What {
    fn taken(self) -> (FreezeScope, Asking) {
        match self {
            Self::Everything { asking } => (FreezeScope::Everything, asking),
            Self::Fleet { fleet, asking } => (FreezeScope::Fleet(fleet), asking),
            Self::Principal { name, asking } => (FreezeScope::Principal(name), asking),
            Self::Credential { id, asking } => (FreezeScope::Credential(id), asking),
        }
    }
}

pub(crate) fn freeze(args: FreezeArgs, format: Format) -> anyhow::Result<Ending> {
    let (scope, asking) = args.what.taken();
    asking.ask_and_say(Action::Freeze { scope }, None, format)
}

pub(crate) fn thaw(args: ThawArgs, format: Format) -> anyhow::Result<Ending> {
    let (scope, asking) = args.what.taken();
    asking.ask_and_say(Action::Thaw { scope }, None, format)
}
