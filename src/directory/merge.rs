//! Several files' words brought together: what agrees becomes one account, what does not is listed and the first word stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::model::{Account, Claim, Contradiction, Directory, FileNote, Found, Unmapped};
use super::names::Address;

/// Files being brought together.
#[derive(Default)]
pub(super) struct Merger {
    directory: Directory,
    /// Which file said a property of an account first.
    said: HashMap<(Address, &'static str), String>,
    /// Domains that mean another.
    domain_aliases: BTreeMap<String, String>,
}

impl Merger {
    /// Takes what one file says.
    pub fn add(&mut self, note: FileNote, found: Found) {
        let file = note.path.clone();
        self.directory.files.push(note);
        for (address, account) in found.accounts {
            self.account(&address, account, &file);
        }
        self.domain_aliases.extend(found.domain_aliases);
        let unmapped = found.unmapped.into_iter();
        self.directory.unmapped.extend(unmapped.map(|(line, account, what)| Unmapped {
            file: file.clone(),
            line,
            account,
            what,
        }));
    }

    /// A file of a folder that is no directory file.
    pub fn unknown_file(&mut self, file: String) {
        self.directory.unmapped.push(Unmapped {
            file,
            line: 0,
            account: None,
            what: "no directory file that floe knows".to_owned(),
        });
    }

    fn account(&mut self, address: &Address, new: Account, file: &str) {
        let mut old = self.directory.accounts.remove(address).unwrap_or_default();
        self.property(address, "type", &mut old.kind, new.kind, file);
        self.property(address, "display name", &mut old.display_name, new.display_name, file);
        self.property(address, "given name", &mut old.given_name, new.given_name, file);
        self.property(address, "family name", &mut old.family_name, new.family_name, file);
        self.property(address, "quota", &mut old.quota, new.quota, file);
        self.property(address, "disabled", &mut old.disabled, new.disabled, file);
        self.property(address, "forward", &mut old.forward, new.forward, file);
        self.property(address, "responder", &mut old.responder, new.responder, file);
        for (name, value) in new.card {
            // Names of people's departments and phones differ in harmless ways; the first one stands without a word.
            old.card.entry(name).or_insert(value);
        }
        for (member, role) in new.members {
            let known = old.members.entry(member).or_insert(role);
            *known = (*known).max(role);
        }
        old.aliases.extend(new.aliases.into_iter().filter(|a| a != address));
        old.had_password |= new.had_password;
        for rights in new.rights {
            if !old.rights.contains(&rights) {
                old.rights.push(rights);
            }
        }
        old.rules.extend(new.rules);
        old.sources.insert(file.to_owned());
        self.directory.accounts.insert(address.clone(), old);
    }

    fn property<T: PartialEq + std::fmt::Debug>(
        &mut self,
        address: &Address,
        property: &'static str,
        old: &mut Option<T>,
        new: Option<T>,
        file: &str,
    ) {
        let key = (address.clone(), property);
        match (old.as_ref(), new) {
            (_, None) => {}
            (None, Some(new)) => {
                *old = Some(new);
                self.said.insert(key, file.to_owned());
            }
            (Some(kept), Some(other)) if *kept != other => {
                let first = self.said.get(&key).cloned().unwrap_or_default();
                self.contradict(address.as_str(), property, (words(kept), first), (words(&other), file.to_owned()));
            }
            _ => {}
        }
    }

    fn contradict(&mut self, subject: &str, property: &str, kept: (String, String), other: (String, String)) {
        let claim = |(value, file)| Claim { value, file };
        let (subject, property) = (subject.to_owned(), property.to_owned());
        let new = Contradiction { subject, property, kept: claim(kept), other: claim(other) };
        if !self.directory.contradictions.contains(&new) {
            self.directory.contradictions.push(new);
        }
    }

    /// The directory, with the accounts that hold data in an archive.
    pub fn finish(mut self, stores: &[String]) -> Directory {
        self.clashing_aliases();
        self.stores(stores);
        self.domains();
        self.directory.contradictions.sort();
        self.directory
    }

    /// An address that two accounts claim: the one whose own address it is keeps it, else the first.
    fn clashing_aliases(&mut self) {
        let mut owners: HashMap<Address, Address> = self.directory.accounts.keys().map(|a| (a.clone(), a.clone())).collect();
        let claims: Vec<(Address, Address)> = self
            .directory
            .accounts
            .iter()
            .flat_map(|(a, account)| account.aliases.iter().map(|alias| (alias.clone(), a.clone())))
            .collect();
        for (alias, claimant) in claims {
            let owner = owners.entry(alias.clone()).or_insert_with(|| claimant.clone()).clone();
            if owner == claimant {
                continue;
            }
            let file = |accounts: &BTreeMap<Address, Account>, a: &Address| {
                accounts.get(a).and_then(|account| account.sources.first().cloned()).unwrap_or_default()
            };
            let files = (file(&self.directory.accounts, &owner), file(&self.directory.accounts, &claimant));
            self.contradict(alias.as_str(), "alias", (owner.to_string(), files.0), (claimant.to_string(), files.1));
            if let Some(account) = self.directory.accounts.get_mut(&claimant) {
                account.aliases.remove(&alias);
            }
        }
    }

    /// Finds the account that each store belongs to: by its address, by an alias, or by a local part that only one account has.
    fn stores(&mut self, stores: &[String]) {
        for store in stores {
            match self.owner_of_store(store) {
                Some(owner) => self.directory.accounts.entry(owner).or_default().stores.insert(store.clone()),
                None => self.directory.homeless_stores.insert(store.clone()),
            };
        }
    }

    /// The account that a store belongs to; one whose name is an address is an account in any case.
    pub fn owner_of_store(&self, store: &str) -> Option<Address> {
        match Address::parse(store) {
            Some(address) => Some(self.owner(&address).unwrap_or(address)),
            None => self.only_account_called(store),
        }
    }

    fn owner(&self, address: &Address) -> Option<Address> {
        let accounts = &self.directory.accounts;
        if accounts.contains_key(address) {
            return Some(address.clone());
        }
        accounts.iter().find(|(_, account)| account.aliases.contains(address)).map(|(owner, _)| owner.clone())
    }

    fn only_account_called(&self, name: &str) -> Option<Address> {
        let name = name.to_lowercase();
        let mut called = self.directory.accounts.keys().filter(|address| address.local_part() == name);
        let only = called.next()?;
        called.next().is_none().then(|| only.clone())
    }

    fn domains(&mut self) {
        let own: BTreeSet<String> = self.directory.accounts.keys().map(|a| a.domain().to_owned()).collect();
        for domain in own {
            self.directory.domains.entry(domain).or_default();
        }
        for (alias, domain) in &self.domain_aliases {
            self.directory.domains.entry(domain.clone()).or_default().aliases.insert(alias.clone());
        }
    }
}

/// A value in words that a person can compare.
fn words(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::super::model::Quota;
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn note(path: &str) -> FileNote {
        FileNote {
            path: path.to_owned(),
            format: "csv".to_owned(),
            because: Vec::new(),
            records: 1,
            passed_over: BTreeMap::new(),
        }
    }

    fn says(account: Account) -> Found {
        Found { accounts: vec![(address("anna@acme.example"), account)], ..Found::default() }
    }

    #[test]
    fn files_that_disagree_are_listed_and_the_first_word_stands() {
        let mut merger = Merger::default();
        let with = |bytes, name: &str| Account {
            quota: Some(Quota::Bytes(bytes)),
            display_name: Some(name.to_owned()),
            ..Account::default()
        };
        merger.add(note("a.csv"), says(with(1, "Anna")));
        merger.add(note("b.ldif"), says(with(2, "Anna")));
        let directory = merger.finish(&[]);
        assert_eq!(directory.accounts[&address("anna@acme.example")].quota, Some(Quota::Bytes(1)));
        let [only] = directory.contradictions.as_slice() else { panic!("{:?}", directory.contradictions) };
        assert_eq!((only.property.as_str(), only.kept.file.as_str(), only.other.file.as_str()), ("quota", "a.csv", "b.ldif"));
        assert!(directory.domains.contains_key("acme.example"));
    }

    #[test]
    fn an_alias_that_is_another_account_is_a_contradiction() {
        let mut merger = Merger::default();
        let aliases = BTreeSet::from([address("boris@acme.example"), address("a@acme.example")]);
        merger.add(note("a.csv"), says(Account { aliases, ..Account::default() }));
        merger.add(
            note("a.csv"),
            Found { accounts: vec![(address("boris@acme.example"), Account::default())], ..Found::default() },
        );
        let directory = merger.finish(&[]);
        assert_eq!(directory.accounts[&address("anna@acme.example")].aliases.len(), 1);
        assert_eq!(directory.contradictions.len(), 1);
    }

    #[test]
    fn stores_find_their_accounts_and_those_that_cannot_are_named() {
        let mut merger = Merger::default();
        merger.add(note("a.csv"), says(Account { aliases: BTreeSet::from([address("am@acme.example")]), ..Account::default() }));
        let stores = ["anna", "am@acme.example", "new@acme.example", "nobody"].map(str::to_owned);
        let directory = merger.finish(&stores);
        assert_eq!(
            directory.accounts[&address("anna@acme.example")].stores,
            BTreeSet::from(["anna".to_owned(), "am@acme.example".to_owned()])
        );
        assert!(directory.accounts.contains_key(&address("new@acme.example")));
        assert_eq!(directory.homeless_stores, BTreeSet::from(["nobody".to_owned()]));
    }
}
