//! How floe reaches a server: its address, whom to trust, how long to wait. The protocols on top stand in modules of their own.

mod address;
mod pace;
mod patience;
mod secret;
mod trust;

pub use address::{Address, Scheme};
pub use pace::Pace;
pub use patience::{MAX_PAUSE, PATIENT_TRIES, patiently, pause};
pub use secret::Secret;
pub use trust::Trust;
