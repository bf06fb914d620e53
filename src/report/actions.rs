//! What to do about an exception: by its cause where that is known, else by its class.

use super::model::Class;

/// Words in a cause, and what to do about it.
const KNOWN: [(&str, &str); 15] = [
    ("expunged", "Nothing: the owner deleted it, and the mail program had not compacted the file yet."),
    ("link", "Nothing if the link's target is captured by itself; else name the target as a source and run the snapshot again."),
    ("tmp", "Nothing: the delivery had not ended. It is captured by the next snapshot if it ended since."),
    ("not a regular file", "Nothing: devices, sockets and pipes hold no mail."),
    ("belongs to no account", "Decide whose it is; name it with --account NAME=PATH and run the snapshot again."),
    ("changed while it was read", "Run the snapshot again when the store is quiet; only what changed is read."),
    ("shrank while it was read", "Run the snapshot again when the store is quiet; only what changed is read."),
    ("removed while", "Nothing if the owner removed it; else run the snapshot again when the store is quiet."),
    ("server's own", "Nothing: a file in which the server keeps its own records."),
    ("cannot be listed", "Give the user who runs floe the right to read the folder, and run the snapshot again."),
    ("could not be opened", "Give the user who runs floe the right to read it, and run the snapshot again."),
    ("could not be counted", "Look at the store with its own tools, mend it, and run the snapshot again."),
    (
        "not the forecast",
        "Read the forecast against the outcome below, correct the plan, and run floe plan and floe validate again.",
    ),
    (
        "forecast did not come true",
        "Read the forecast against the outcome below, correct the plan, and run floe plan and floe validate again.",
    ),
    ("index", "Run floe index --rebuild; the index is a cache and nothing is lost."),
];

/// What to do.
pub(super) fn action(class: Class, cause: &str) -> &'static str {
    let cause = cause.to_lowercase();
    if let Some((_, action)) = KNOWN.iter().find(|(words, _)| cause.contains(words)) {
        return action;
    }
    match class {
        Class::Damaged => "Copy the named files from another copy of the archive, then run floe verify --full again.",
        Class::Missing => {
            "Run floe replay with the same plan again, then floe validate; what is still missing has its reason in the journal."
        }
        Class::Changed => "Compare the item in the target with floe show; keep both until the owner has decided.",
        Class::Failed => "Look at the item at its place in the source; mend or copy it by hand, then run the snapshot again.",
        Class::Unproven => "Mend what stood in the way, and run floe validate again.",
        Class::Altered => "As forecast and agreed in the plan; the archive keeps the item as it was.",
        Class::Refused => "As forecast and agreed in the plan; hand the item over by another way with floe export.",
        Class::Duplicate => "Remove the copy that the journal does not name.",
        Class::Extra => "Nothing if the owner has used the account since; else find out who put it there.",
        Class::Note => "Read the note; nothing is lost.",
        Class::Skipped => "Nothing: left out by rule. Check that the rule is what was agreed.",
    }
}
