use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::BoolishValueParser;
use tokio::signal::unix::{SignalKind, signal};

use super::Ending;
use super::shared::DataFolder;
use crate::config::{ConsoleListen, File};
use crate::logging::{self, LogFormat};
use crate::serve;

/// Run the eIM: devices poll it over ESipa, operators manage it with the other commands.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataFolder,
    /// Configuration file [default: palisade.toml in the data folder].
    #[arg(long, value_name = "FILE", env = "PALISADE_CONFIG")]
    config: Option<PathBuf>,
    /// Where ESipa listens [default: 0.0.0.0:8443].
    #[arg(long, value_name = "ADDRESS:PORT", env = "PALISADE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where the console listens, or `off`.
    #[arg(long, value_name = "ADDRESS:PORT", env = "PALISADE_CONSOLE")]
    console: Option<ConsoleListen>,
    /// Host name, with a port unless it is 443, under which devices reach ESipa.
    #[arg(long, value_name = "HOST[:PORT]", env = "PALISADE_FQDN")]
    fqdn: Option<String>,
    /// Connect to this address instead of asking the name service for an SM-DP+; may be given several times.
    #[arg(long, value_name = "HOST=ADDRESS:PORT", value_parser = super::shared::parse_resolve)]
    resolve: Vec<(String, SocketAddr)>,
    /// Level of the log, or list of levels by module [default: info].
    #[arg(long, value_name = "FILTER", env = "PALISADE_LOG")]
    log: Option<String>,
    /// How log lines look [default: text].
    #[arg(long, value_enum, env = "PALISADE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// Serve the console without TLS, to browsers on this machine only.
    #[arg(long, env = "PALISADE_INSECURE_CONSOLE_HTTP", value_parser = BoolishValueParser::new())]
    insecure_console_http: bool,
    /// Hand triggers and data requests to connections that have not shown that the eUICC is behind them.
    #[arg(long, env = "PALISADE_INSECURE_TRUST_ANY_CONNECTION", value_parser = BoolishValueParser::new())]
    insecure_trust_any_connection: bool,
    /// Let an EUM issue for any EID.
    #[arg(long, env = "PALISADE_INSECURE_IGNORE_EUM_NAME_CONSTRAINTS", value_parser = BoolishValueParser::new())]
    insecure_ignore_eum_name_constraints: bool,
    /// Do not wait for the disk.
    #[arg(long, env = "PALISADE_INSECURE_NO_FLUSH", value_parser = BoolishValueParser::new())]
    insecure_no_flush: bool,
}

const LONG_ABOUT: &str = "\
Run the eIM: devices poll it over ESipa (HTTPS, both bindings); operators manage it in a browser or over
the API (the console, a listener of its own), and with the other commands through the control socket in
the data folder.

Everything lasting is in the data folder, which `palisade init` makes. The settings come from
palisade.toml there; the environment (PALISADE_...) counts more, and flags count most.

Signing is done by the authority, a process of its own. Unless palisade.toml says where another one is
([authority]), it is started beside the eIM, with the folder `authority` in the data folder, restarted
when it ends, and stopped with the eIM.

Ends on SIGINT and SIGTERM: requests under way are finished, then the counters are logged. A second
signal ends it at once. On SIGHUP the certificate of ESipa and the CIs of
eUICCs with their CRLs are read again, by the authority as well.";

const AFTER_HELP: &str = "\
Examples:
  palisade serve --data eim
  palisade serve --data eim --listen 127.0.0.1:8443 --log info,eim=debug --log-format json
  PALISADE_DATA=/var/lib/palisade palisade serve";

impl Args {
    /// The file with environment and flags over it.
    fn settings(&self) -> anyhow::Result<File> {
        let mut file = match &self.config {
            Some(path) => File::load(path)?,
            None => File::of_data_folder(self.data.path())?,
        };
        if let Some(listen) = self.listen {
            file.eim.listen = listen;
        }
        if let Some(console) = self.console {
            file.console.listen = console;
        }
        if let Some(fqdn) = &self.fqdn {
            crate::config::check_host(fqdn)
                .map_err(|error| super::usage(format!("--fqdn {fqdn:?}: {error}")))?;
            file.eim.fqdn = Some(fqdn.clone());
        }
        file.eim.resolve.extend(self.resolve.iter().cloned());
        if let Some(filter) = &self.log {
            file.log.filter.clone_from(filter);
        }
        if let Some(format) = self.log_format {
            file.log.format = format;
        }
        file.console.insecure_http |= self.insecure_console_http;
        file.eim.insecure_trust_any_connection |= self.insecure_trust_any_connection;
        file.eim.insecure_ignore_eum_name_constraints |= self.insecure_ignore_eum_name_constraints;
        file.eim.insecure_no_flush |= self.insecure_no_flush;
        Ok(file)
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Ending> {
    let data = args.data.existing()?;
    let file = args.settings()?;
    logging::start(&file.log.filter, file.log.format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        // Before the server says that it is ready, so that a signal right after it is not missed.
        let mut signals = Signals::new()?;
        let server = serve::start(data, &file).await?;
        while let Signal::Reload = signals.next().await {
            server.reload(data, &file).await;
        }
        tracing::info!("stopping; requests under way are finished");
        tokio::select! {
            ended = server.stop() => ended.map(|()| Ending::Done),
            () = signals.stop() => {
                tracing::warn!("stopped at once, at a second signal");
                Ok(Ending::Failed)
            }
        }
    })
}

/// What the process was sent.
pub(crate) enum Signal {
    Stop,
    Reload,
}

/// The signals that are listened to.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// Waits for a signal that ends the program.
    pub(crate) async fn stop(&mut self) {
        while let Signal::Reload = self.next().await {}
    }
}
