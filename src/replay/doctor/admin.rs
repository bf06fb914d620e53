//! Finds out what a server's administration says that matters to a migration: version, licence, password policy, limits. It only reads.

use crate::error::{Kind, Result};
use crate::icewarp::api::{Api, Element};
use crate::model::printable;
use crate::replay::sheet::AdminSheet;

/// What is asked for, all of it at once.
const NAMES: [&str; 22] = [
    "C_Version",
    "C_License_Type",
    "C_Accounts_Policies_Pass_Enable",
    "C_Accounts_Policies_Pass_MinLength",
    "C_Accounts_Policies_Pass_Digits",
    "C_Accounts_Policies_Pass_NonAlphaNum",
    "C_Accounts_Policies_Pass_Alpha",
    "C_Accounts_Policies_Pass_UpperAlpha",
    "C_Accounts_Policies_Pass_UserAlias",
    "C_Accounts_Policies_Pass_Expiration",
    "C_Accounts_Policies_Login_LoginSettings",
    "C_Accounts_Policies_Auth_DisablePlain",
    "C_System_Services_IMAP_MaxAppendsPerMinute",
    "C_System_Services_IMAP_AllowBinaryAppend",
    "C_AV_Action_MailIMAPEnabled",
    "C_Mail_SMTP_Delivery_LimitMsgSize",
    "C_Mail_SMTP_Delivery_MaxMsgSize",
    "C_GW_SharedAccountPrefix",
    "C_AS_SpamFolderName",
    "C_WebDAV_Active",
    "C_System_Server_Language",
    "D_Server_Language",
];

/// Reads what the administration tells. The second value is what it does not tell, and why.
///
/// # Errors
/// When the server cannot be reached or answers what makes no sense.
pub fn look_at_admin(api: &mut Api) -> Result<(AdminSheet, Vec<String>)> {
    let mut unknown = Vec::new();
    let mut sheet = AdminSheet::default();
    match api.server_properties(&NAMES) {
        Ok(told) => sheet.properties = told.into_iter().map(|(name, value)| (name, printable(value.value("val")))).collect(),
        // A domain's administrator may not read the server's properties.
        Err(e) if e.kind() == Kind::Refused => {
            unknown.push(format!("policy and limits of the server: {}", printable(&e.to_string())))
        }
        Err(e) => return Err(e),
    }
    match api.licence() {
        Ok(licence) => sheet.licence = Some(leaves(&licence).join(", ")).filter(|text| !text.is_empty()),
        Err(e) if e.kind() == Kind::Refused => unknown.push(format!("licence: {}", printable(&e.to_string()))),
        Err(e) => return Err(e),
    }
    sheet.version = sheet.text("C_Version").map(ToOwned::to_owned);
    Ok((sheet, unknown))
}

/// Every text in an answer whose shape nobody knows, with its name.
fn leaves(element: &Element) -> Vec<String> {
    let text = element.text.trim();
    let own =
        (!text.is_empty() && element.children.is_empty()).then(|| format!("{} {}", printable(&element.name), printable(text)));
    own.into_iter().chain(element.children.iter().flat_map(leaves)).collect()
}
