//! The eIM through its ESipa messages, against eUICCs whose every signature the tests choose.

mod association;
mod attacks;
mod delivery;
mod downloads;
mod http;
mod world;
