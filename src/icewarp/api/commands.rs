//! The commands that a migration needs, each as a method.

use std::collections::BTreeMap;

use quick_xml::escape::escape;

use super::{Api, Element, applied};
use crate::error::Result;

/// Members sent in one request.
const BATCH: usize = 50;

/// A property to be set, with its `propertyval`.
pub type Property<'a> = (&'a str, Element);

/// A folder of an account, as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Names from the top.
    pub path: Vec<String>,
    /// What the server calls it; never to be made up.
    pub id: String,
    /// `M` mail, `E` calendar, `C` contacts, `T` tasks, `N` notes, `J` journal, `F` files, `X` the account itself.
    pub letter: String,
}

/// Who may do what in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// An address, `[domain]` or `anyone`.
    pub account: String,
    /// The permission letters.
    pub letters: String,
}

/// Every call fails alike: when the server cannot be reached, refuses the session or the command, or answers what makes no sense.
impl Api {
    /// Names of all domains.
    ///
    /// # Errors
    /// As every call.
    pub fn domains(&mut self) -> Result<Vec<String>> {
        let items = self.list("getdomainsinfolist", "<filter><namemask>*</namemask></filter>")?;
        Ok(items.iter().map(|i| i.value("name").to_lowercase()).collect())
    }

    /// Makes a domain; was it applied?
    ///
    /// # Errors
    /// As every call.
    pub fn create_domain(&mut self, domain: &str, properties: &[Property<'_>]) -> Result<bool> {
        let params = format!("<domainstr>{}</domainstr>{}", escape(domain), written("domainproperties", properties));
        self.call("createdomain", &params).map(|result| applied(&result))
    }

    /// Text properties of a domain, by their names in small letters; those that are not set are not there.
    ///
    /// # Errors
    /// As every call.
    pub fn domain_properties(&mut self, domain: &str, names: &[&str]) -> Result<BTreeMap<String, Element>> {
        let params = format!("<domainstr>{}</domainstr>{}", escape(domain), asked("domainpropertylist", names));
        self.call("getdomainproperties", &params).map(|result| told(&result))
    }

    /// Properties of the server, by their names in small letters.
    ///
    /// # Errors
    /// As every call.
    pub fn server_properties(&mut self, names: &[&str]) -> Result<BTreeMap<String, Element>> {
        self.call("getserverproperties", &asked("serverpropertylist", names)).map(|result| told(&result))
    }

    /// What the licence says; its shape is the server's own.
    ///
    /// # Errors
    /// As every call.
    pub fn licence(&mut self) -> Result<Element> {
        self.call("getlicenseinfo", "")
    }

    /// Addresses of the accounts of a domain whose name or address fits `mask`, `*` for all; each with its `U_Type`.
    ///
    /// # Errors
    /// As every call.
    pub fn accounts(&mut self, domain: &str, mask: &str) -> Result<BTreeMap<String, String>> {
        let params = format!("<domainstr>{}</domainstr><filter><namemask>{}</namemask></filter>", escape(domain), escape(mask));
        let items = self.list("getaccountsinfolist", &params)?;
        Ok(items.iter().map(|i| (i.value("email").to_lowercase(), i.value("accounttype").to_owned())).collect())
    }

    /// Makes an account; was it applied? A 0 may mean a licence that is used up, or an address that is taken.
    ///
    /// # Errors
    /// As every call.
    pub fn create_account(&mut self, domain: &str, properties: &[Property<'_>]) -> Result<bool> {
        let params = format!("<domainstr>{}</domainstr>{}", escape(domain), written("accountproperties", properties));
        self.call("createaccount", &params).map(|result| applied(&result))
    }

    /// Properties of an account, by their names in small letters; those that are not set are not there.
    ///
    /// # Errors
    /// As every call.
    pub fn properties(&mut self, account: &str, names: &[&str]) -> Result<BTreeMap<String, Element>> {
        let params = format!("<accountemail>{}</accountemail>{}", escape(account), asked("accountpropertylist", names));
        self.call("getaccountproperties", &params).map(|result| told(&result))
    }

    /// Writes properties of an account; was anything applied?
    ///
    /// # Errors
    /// As every call.
    pub fn set_properties(&mut self, account: &str, properties: &[Property<'_>]) -> Result<bool> {
        let params = format!("<accountemail>{}</accountemail>{}", escape(account), written("propertyvaluelist", properties));
        self.call("setaccountproperties", &params).map(|result| applied(&result))
    }

    /// Members of a list or group.
    ///
    /// # Errors
    /// As every call.
    pub fn members(&mut self, list: &str) -> Result<Vec<String>> {
        let params = format!("<who>{}</who><filter><namemask>*</namemask></filter>", escape(list));
        let items = self.list("getaccountmemberinfolist", &params)?;
        Ok(items.iter().map(|i| i.value("val").to_lowercase()).collect())
    }

    /// Adds members who may receive and post; was all of it applied?
    ///
    /// # Errors
    /// As every call.
    pub fn add_members(&mut self, list: &str, members: &[&str]) -> Result<bool> {
        let mut all = true;
        for some in members.chunks(BATCH) {
            let item = |member: &&str| {
                let mut fields = vec![Element::text("classname", "tpropertymember"), Element::text("val", *member)];
                // The field is spelled like that.
                let flags = [("default", "0"), ("recieve", "1"), ("post", "1"), ("digest", "0"), ("params", "")];
                fields.extend(flags.map(|(name, value)| Element::text(name, value)));
                Element::of("item", fields)
            };
            let list_of = Element::of("val", some.iter().map(item).collect());
            let members = Element::of("members", vec![Element::text("classname", "tpropertymembers"), list_of]);
            let params = format!("<accountemail>{}</accountemail>{}", escape(list), text_of(&members));
            all &= self.call("addaccountmembers", &params).map(|result| applied(&result))?;
        }
        Ok(all)
    }

    /// All folders of an account, the account itself first.
    ///
    /// # Errors
    /// As every call.
    pub fn folders(&mut self, account: &str) -> Result<Vec<Folder>> {
        let params = format!("<accountemail>{}</accountemail><onlydefault>0</onlydefault>", escape(account));
        let tree = self.call("getaccountfolderlist", &params)?;
        let mut folders = Vec::new();
        gather(&tree, &[], true, &mut folders);
        Ok(folders)
    }

    /// The rights set on a folder; none where they are inherited.
    ///
    /// # Errors
    /// As every call.
    pub fn rights(&mut self, account: &str, folder: &str) -> Result<Vec<Right>> {
        let params = format!("<accountemail>{}</accountemail><folderid>{}</folderid>", escape(account), escape(folder));
        let result = self.call("getaccountfolderpermissions", &params)?;
        let items = result.children.iter().filter(|c| c.name == "item");
        Ok(items
            .map(|i| Right { account: i.value("account").to_lowercase(), letters: i.value("permissions").to_owned() })
            .collect())
    }

    /// Replaces the rights of a folder; was it applied?
    ///
    /// # Errors
    /// As every call.
    pub fn set_rights(&mut self, account: &str, folder: &str, rights: &[Right]) -> Result<bool> {
        let item = |r: &Right| {
            Element::of("item", vec![Element::text("account", &*r.account), Element::text("permissions", &*r.letters)])
        };
        let list = Element::of("permissions", rights.iter().map(item).collect());
        let params =
            format!("<accountemail>{}</accountemail><folderid>{}</folderid>{}", escape(account), escape(folder), text_of(&list));
        self.call("setaccountfolderpermissions", &params).map(|result| applied(&result))
    }

    /// The rules of an account in their order, whole.
    ///
    /// # Errors
    /// As every call.
    pub fn rules(&mut self, account: &str) -> Result<Vec<Element>> {
        let params = format!("<who>{}</who><filter><namemask>*</namemask></filter>", escape(account));
        let items = self.list("getrulesinfolist", &params)?;
        let mut rules = Vec::new();
        for item in items {
            let params = format!("<who>{}</who><ruleid>{}</ruleid>", escape(account), escape(item.value("ruleid")));
            rules.push(self.call("getrule", &params)?);
        }
        Ok(rules)
    }

    /// Adds a rule behind the others; was it applied? Sent once only: who does not know looks at [`Api::rules`].
    ///
    /// # Errors
    /// As every call.
    pub fn add_rule(&mut self, account: &str, rule: &Element) -> Result<bool> {
        let params = format!("<who>{}</who>{}", escape(account), text_of(rule));
        self.call_once("addrule", &params).map(|result| applied(&result))
    }
}

fn text_of(element: &Element) -> String {
    let mut text = String::new();
    element.write(&mut text);
    text
}

/// A list of names of properties.
fn asked(tag: &str, names: &[&str]) -> String {
    let items = names.iter().map(|name| Element::of("item", vec![Element::text("propname", *name)])).collect();
    text_of(&Element::of(tag, items))
}

/// A list of properties and their values.
fn written(tag: &str, properties: &[Property<'_>]) -> String {
    let items = properties.iter().map(|(name, value)| {
        let name = Element::of("apiproperty", vec![Element::text("propname", *name)]);
        Element::of("item", vec![name, value.clone()])
    });
    text_of(&Element::of(tag, items.collect()))
}

/// The properties of an answer that have a value.
fn told(result: &Element) -> BTreeMap<String, Element> {
    let items = result.children.iter().filter(|c| c.name == "item");
    let pairs = items.filter_map(|item| {
        let name = item.child("apiproperty")?.value("propname").to_lowercase();
        let value = item.child("propertyval")?;
        (!value.value("classname").eq_ignore_ascii_case("TPropertyNoValue")).then(|| (name, value.clone()))
    });
    pairs.collect()
}

fn gather(node: &Element, above: &[String], is_root: bool, folders: &mut Vec<Folder>) {
    let mut path = above.to_vec();
    if !is_root {
        path.push(node.value("name").to_owned());
    }
    let (id, letter) = (node.value("id").to_owned(), node.value("foldertype").to_owned());
    folders.push(Folder { path: path.clone(), id, letter });
    for below in node.child("subfolders").into_iter().flat_map(|s| &s.children) {
        gather(below, &path, false, folders);
    }
}
