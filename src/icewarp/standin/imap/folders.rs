//! Commands about folders: LIST, SELECT, CREATE and their kin.

use std::io;

use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox as Name};
use imap_codec::imap_types::status::StatusDataItemName;

use super::super::locked;
use super::super::mail::{Mailbox, Refused, Special};
use super::session::{Selected, Session};
use crate::source::mutf7;

/// The folder's name as text; `None` if it is not modified UTF-7.
pub(super) fn folder_name(name: &Name<'_>) -> Option<String> {
    match name {
        Name::Inbox => Some("INBOX".into()),
        Name::Other(other) => mutf7::decode(std::str::from_utf8(other.as_ref()).ok()?),
    }
}

/// The name as a quoted string.
fn quoted(name: &str) -> String {
    format!("\"{}\"", mutf7::encode(name).replace('\\', "\\\\").replace('"', "\\\""))
}

/// Does the name match a pattern of LIST? Time grows with their product, not with its power.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reached = vec![false; pattern.len() + 1];
    let spread = |reached: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            if reached[at] && matches!(pattern[at], '*' | '%') {
                reached[at + 1] = true;
            }
        }
    };
    reached[0] = true;
    spread(&mut reached);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|&at| reached[at]) {
            match pattern[at] {
                '*' => next[at] = true,
                '%' if c != '/' => next[at] = true,
                '%' => {}
                exact if exact == c => next[at + 1] = true,
                _ => {}
            }
        }
        spread(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

fn refused(why: &Refused) -> String {
    let text = match why {
        Refused::Exists => "[ALREADYEXISTS] the folder exists",
        Refused::NoParent => "[NONEXISTENT] the parent folder does not exist",
        Refused::BadName => "[CANNOT] this name is not allowed",
        Refused::Missing => "[NONEXISTENT] no such folder",
        Refused::Default => "[CANNOT] a default folder",
        Refused::HasChildren => "[HASCHILDREN] there are folders below it",
        Refused::Broken(_) => "[SERVERBUG] the disk failed",
    };
    format!("NO {text}")
}

impl Session<'_> {
    /// Commands of a client that has logged in.
    pub(super) fn folder_command(&mut self, body: CommandBody<'_>, xlist: bool) -> io::Result<String> {
        match body {
            CommandBody::List { reference, mailbox_wildcard } => {
                self.list(if xlist { "XLIST" } else { "LIST" }, &reference, &mailbox_wildcard)
            }
            CommandBody::Lsub { reference, mailbox_wildcard } => self.list("LSUB", &reference, &mailbox_wildcard),
            CommandBody::Select { mailbox } => self.select(&mailbox, false),
            CommandBody::Examine { mailbox } => self.select(&mailbox, true),
            CommandBody::Status { mailbox, item_names } => self.status(&mailbox, &item_names),
            CommandBody::GetQuotaRoot { mailbox } => self.quota_root(&mailbox),
            CommandBody::GetQuota { .. } => self.quota("OK GETQUOTA completed"),
            CommandBody::Create { mailbox } => self.on_folders(|mailbox, name| mailbox.create(name), &mailbox),
            CommandBody::Delete { mailbox } => self.on_folders(|mailbox, name| mailbox.delete(name), &mailbox),
            CommandBody::Subscribe { mailbox } => self.on_folders(|mailbox, name| Ok(mailbox.subscribe(name, true)?), &mailbox),
            CommandBody::Unsubscribe { mailbox } => {
                self.on_folders(|mailbox, name| Ok(mailbox.subscribe(name, false)?), &mailbox)
            }
            CommandBody::Rename { from, to } => {
                let Some(to) = folder_name(&to) else { return Ok("NO not a name in modified UTF-7".into()) };
                self.on_folders(|mailbox, name| mailbox.rename(name, &to), &from)
            }
            body => self.message_command(body),
        }
    }

    fn on_folders(&mut self, change: impl Fn(&mut Mailbox, &str) -> Result<(), Refused>, name: &Name<'_>) -> io::Result<String> {
        let Some(name) = folder_name(name) else { return Ok("NO not a name in modified UTF-7".into()) };
        let name = name.strip_suffix('/').unwrap_or(&name);
        let mailbox = self.mailbox()?;
        let done = change(&mut locked(&mailbox), name);
        Ok(done.map_or_else(|why| refused(&why), |()| "OK completed".into()))
    }

    fn list(&mut self, word: &str, reference: &Name<'_>, wildcard: &ListMailbox<'_>) -> io::Result<String> {
        let difficulties = &self.world.difficulties;
        if word == "XLIST" && difficulties.no_xlist {
            return Ok("BAD command unknown".into());
        }
        let pattern = match wildcard {
            ListMailbox::Token(token) => token.as_ref().to_vec(),
            ListMailbox::String(string) => string.as_ref().to_vec(),
        };
        let reference = match reference {
            Name::Inbox => b"INBOX".to_vec(),
            Name::Other(other) => other.as_ref().to_vec(),
        };
        if pattern.is_empty() {
            self.line(format_args!("* {word} (\\Noselect) \"/\" \"\""))?;
            return Ok(format!("OK {word} completed"));
        }
        let pattern = String::from_utf8_lossy(&[reference, pattern].concat()).into_owned();
        let attributes_told = word == "XLIST" || (word == "LIST" && !difficulties.no_special_use);
        let mut lines = self.folder_lines(word, &pattern, attributes_told)?;
        if difficulties.foreign_folders && word != "LSUB" {
            for (name, flags) in
                [("Public Folders", "\\Noselect"), ("~shared@standin.test", "\\Noselect"), ("Calendar", ""), ("Contacts", "")]
            {
                if matches(&pattern, name) {
                    lines.push(format!("* {word} ({flags}) \"/\" {}", quoted(name)));
                }
            }
        }
        for line in lines {
            self.line(format_args!("{line}"))?;
        }
        Ok(format!("OK {word} completed"))
    }

    fn folder_lines(&self, word: &str, pattern: &str, attributes_told: bool) -> io::Result<Vec<String>> {
        let mailbox = self.mailbox()?;
        let mailbox = locked(&mailbox);
        let pattern_matches = |name: &str| {
            let wire = mutf7::encode(name);
            matches(pattern, &wire) || (name == "INBOX" && matches(&pattern.to_ascii_uppercase(), "INBOX"))
        };
        let names: Vec<&String> = match word {
            "LSUB" => mailbox.subscribed.iter().collect(),
            _ => mailbox.folders.keys().collect(),
        };
        let line = |name: &String| {
            let mut flags = vec![if mailbox.has_children(name) { "\\HasChildren" } else { "\\HasNoChildren" }];
            flags.extend(
                mailbox.special(name).filter(|_| attributes_told).and_then(|special| attribute(special, word == "XLIST")),
            );
            format!("* {word} ({}) \"/\" {}", flags.join(" "), quoted(name))
        };
        Ok(names.into_iter().filter(|name| pattern_matches(name)).map(line).collect())
    }

    fn select(&mut self, name: &Name<'_>, read_only: bool) -> io::Result<String> {
        self.selected = None;
        let mailbox = self.mailbox()?;
        let mailbox = locked(&mailbox);
        let Some((name, folder)) = folder_name(name).and_then(|name| mailbox.folders.get_key_value(&name)) else {
            return Ok("NO [NONEXISTENT] no such folder".into());
        };
        let uids: Vec<u32> = folder.messages.keys().copied().collect();
        let unseen = folder.messages.values().position(|message| !message.flags.iter().any(|flag| flag == "\\Seen"));
        let (validity, next, name) = (folder.validity, folder.next, name.clone());
        drop(mailbox);
        let keep = if self.world.difficulties.no_keywords { "" } else { " \\*" };
        self.line(format_args!("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)"))?;
        self.line(format_args!("* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft{keep})] kept"))?;
        self.line(format_args!("* {} EXISTS", uids.len()))?;
        self.line(format_args!("* 0 RECENT"))?;
        if let Some(at) = unseen {
            self.line(format_args!("* OK [UNSEEN {}] first unseen", at + 1))?;
        }
        self.line(format_args!("* OK [UIDVALIDITY {validity}] valid"))?;
        self.line(format_args!("* OK [UIDNEXT {next}] predicted"))?;
        self.selected = Some(Selected { name, read_only, uids });
        Ok(if read_only { "OK [READ-ONLY] EXAMINE completed" } else { "OK [READ-WRITE] SELECT completed" }.into())
    }

    fn status(&mut self, name: &Name<'_>, items: &[StatusDataItemName]) -> io::Result<String> {
        let mailbox = self.mailbox()?;
        let mailbox = locked(&mailbox);
        let Some((name, folder)) = folder_name(name).and_then(|name| mailbox.folders.get_key_value(&name)) else {
            return Ok("NO [NONEXISTENT] no such folder".into());
        };
        let unseen = || folder.messages.values().filter(|message| !message.flags.iter().any(|flag| flag == "\\Seen")).count();
        let mut values = Vec::new();
        for item in items {
            values.push(match item {
                StatusDataItemName::Messages => format!("MESSAGES {}", folder.messages.len()),
                StatusDataItemName::Recent => "RECENT 0".into(),
                StatusDataItemName::UidNext => format!("UIDNEXT {}", folder.next),
                StatusDataItemName::UidValidity => format!("UIDVALIDITY {}", folder.validity),
                StatusDataItemName::Unseen => format!("UNSEEN {}", unseen()),
                _ => return Ok("BAD item not known".into()),
            });
        }
        let line = format!("* STATUS {} ({})", quoted(name), values.join(" "));
        drop(mailbox);
        self.line(format_args!("{line}"))?;
        Ok("OK STATUS completed".into())
    }

    fn quota_root(&mut self, name: &Name<'_>) -> io::Result<String> {
        let name = folder_name(name).unwrap_or_default();
        self.line(format_args!("* QUOTAROOT {} \"\"", quoted(&name)))?;
        self.quota("OK GETQUOTAROOT completed")
    }

    fn quota(&mut self, done: &str) -> io::Result<String> {
        let address = self.user.as_ref().map(|user| user.address.clone()).unwrap_or_default();
        let (used, limit) = self.world.quota(&address);
        match limit {
            Some(limit) => self.line(format_args!("* QUOTA \"\" (STORAGE {} {})", used.div_ceil(1024), limit / 1024))?,
            None => self.line(format_args!("* QUOTA \"\" ()"))?,
        }
        Ok(done.into())
    }
}

/// The attribute of a default folder, in the words of LIST or of XLIST.
fn attribute(special: Special, xlist: bool) -> Option<&'static str> {
    Some(match special {
        Special::Inbox if xlist => "\\Inbox",
        Special::Inbox => return None,
        Special::Drafts => "\\Drafts",
        Special::Sent => "\\Sent",
        Special::Spam if xlist => "\\Spam",
        Special::Spam => "\\Junk",
        Special::Trash => "\\Trash",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_list_says() {
        assert!(
            matches("*", "a/b") && matches("%", "a") && !matches("%", "a/b") && matches("a/%", "a/b") && matches("a*c", "abbc")
        );
        assert!(!matches("", "a") && !matches("a", "ab") && matches("%/%", "a/b"));
        assert!(!matches(&"*a".repeat(2_000), &"a".repeat(1_000)));
    }
}
