//! Parts of the plan's TOML that are written and read alike: forwards, responders, who has a right.

use serde::{Deserialize, Serialize};

use crate::directory::{Address, Forward, Responder, Who};

/// A forward in the plan.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ForwardText {
    to: Vec<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_copy: Option<bool>,
}

impl From<&Forward> for ForwardText {
    fn from(forward: &Forward) -> Self {
        ForwardText { to: forward.to.iter().cloned().collect(), keep_copy: forward.keep_copy }
    }
}

impl From<ForwardText> for Forward {
    fn from(text: ForwardText) -> Self {
        Forward { to: text.to.into_iter().collect(), keep_copy: text.keep_copy }
    }
}

/// A responder in the plan.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ResponderText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_day: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_day: Option<String>,
}

impl From<&Responder> for ResponderText {
    fn from(responder: &Responder) -> Self {
        let Responder { subject, text, from, days, first_day, last_day } = responder.clone();
        ResponderText { subject, text, from, days, first_day, last_day }
    }
}

impl From<ResponderText> for Responder {
    fn from(responder: ResponderText) -> Self {
        let ResponderText { subject, text, from, days, first_day, last_day } = responder;
        Responder { subject, text, from, days, first_day, last_day }
    }
}

/// Who has a right: an address, `group:ADDRESS`, `everybody`, `anyone` or `owner`.
pub(super) fn who_text(who: &Who) -> String {
    match who {
        Who::User(address) => address.to_string(),
        Who::Group(address) => format!("group:{address}"),
        Who::Authenticated => "everybody".to_owned(),
        Who::Anyone => "anyone".to_owned(),
        Who::Owner => "owner".to_owned(),
    }
}

/// The reverse of [`who_text`].
pub(super) fn who_of(text: &str) -> Option<Who> {
    Some(match text {
        "everybody" => Who::Authenticated,
        "anyone" => Who::Anyone,
        "owner" => Who::Owner,
        _ => match text.strip_prefix("group:") {
            Some(group) => Who::Group(Address::parse(group)?),
            None => Who::User(Address::parse(text)?),
        },
    })
}
