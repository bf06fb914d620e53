//! The XML API: the envelope, the order of checks, sessions; then each command in its file.

mod accounts;
mod domains;
mod folders;
mod members;
mod properties;
mod rules;

use std::time::Duration;

use hyper::Method;

use super::directory::{Power, Properties};
use super::world::{ApiSession, Login};
use super::xml::{self, Node};
use super::{World, locked, random_hex};
use crate::error::Error;

/// What a command comes to.
enum Answer {
    /// `<result>` with this in it.
    Result(Node),
    /// `<error uid>`.
    Refused(&'static str),
}

impl From<Error> for Answer {
    fn from(_: Error) -> Self {
        // The disk failed; the nearest thing that the API can say.
        Answer::Result(Node::text("result", "0"))
    }
}

type Outcome = Result<Answer, Answer>;

fn text(value: impl Into<String>) -> Answer {
    Answer::Result(Node::text("result", value))
}

fn applied(yes: bool) -> Answer {
    text(if yes { "1" } else { "0" })
}

fn refused<T>(uid: &'static str) -> Result<T, Answer> {
    Err(Answer::Refused(uid))
}

/// A list with its paging: the items from `offset` on, `count` of them (0 for all).
fn page(params: &Node, mut items: Vec<Node>) -> Answer {
    let number = |name: &str| params.value(name).parse::<usize>().unwrap_or(0);
    let (offset, count, overall) = (number("offset"), number("count"), items.len());
    items = items.into_iter().skip(offset).take(if count == 0 { usize::MAX } else { count }).collect();
    items.push(Node::text("offset", offset.to_string()));
    items.push(Node::text("overallcount", overall.to_string()));
    Answer::Result(Node::of("result", items))
}

/// Does a mask with `*` and `?` match, in any case? An empty one matches all.
fn mask_matches(mask: &str, name: &str) -> bool {
    let (mask, name): (Vec<char>, Vec<char>) = (mask.to_lowercase().chars().collect(), name.to_lowercase().chars().collect());
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < name.len() {
        match mask.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((star_at, star_from)) => {
                    star = Some((star_at, star_from + 1));
                    (at, from) = (star_at + 1, star_from + 1);
                }
                None => return mask.is_empty(),
            },
        }
    }
    mask[at.min(mask.len())..].iter().all(|c| *c == '*')
}

/// Items of `<classname/><val><item>..</item></val>`, or the plain text of it.
fn string_list(node: Option<&Node>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let list = node.child("val").unwrap_or(node);
    list.children.iter().filter(|child| child.name.eq_ignore_ascii_case("item")).map(|item| item.text.trim().to_owned()).collect()
}

/// Commands that change nothing need not be listed; these are the ones that a 0 can hit.
fn writes(command: &str) -> bool {
    ["create", "delete", "rename", "set", "add", "edit", "move", "expire", "inherit"].iter().any(|verb| command.starts_with(verb))
}

/// A command that runs in a session.
struct Call<'a> {
    world: &'a World,
    params: &'a Node,
    address: String,
    power: Power,
}

/// Answers a request: after how long, and with what (`None` if it was no POST).
pub(super) fn answer(world: &World, method: &Method, body: &[u8]) -> (Duration, Option<String>) {
    if method != Method::POST {
        return (Duration::ZERO, None);
    }
    let (delay, sid, namespaced, answer) = checked(world, body);
    let (kind, child) = match answer {
        Answer::Result(node) => ("result", node),
        Answer::Refused(uid) => ("error", Node { attributes: vec![("uid".into(), uid.into())], ..Node::new("error") }),
    };
    let mut query = Node::of("query", vec![child]);
    if namespaced {
        query.attributes.push(("xmlns".into(), "admin:iq:rpc".into()));
    }
    let mut iq = Node::of("iq", vec![query]);
    iq.attributes.push(("type".into(), kind.into()));
    iq.attributes.extend(sid.map(|sid| ("sid".to_owned(), sid)));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    iq.write(&mut text);
    (delay, Some(text))
}

/// The checks in their order: root, namespace, command, session, parameters.
fn checked(world: &World, body: &[u8]) -> (Duration, Option<String>, bool, Answer) {
    let at_once = |sid, namespaced, answer| (Duration::ZERO, sid, namespaced, answer);
    let root = xml::parse(body).filter(|root| root.name == "iq");
    let Some(root) = root else { return at_once(None, false, Answer::Refused("iq_root_tag_invalid")) };
    let Some(query) = root.child("query").filter(|query| query.namespace == "admin:iq:rpc") else {
        return at_once(None, true, Answer::Refused("iq_query_xmlns_invalid"));
    };
    let command = query.value("commandname").to_lowercase();
    let empty = Node::default();
    let params = query.child("commandparams").unwrap_or(&empty);
    let given_sid = root.attribute("sid").map(str::to_owned);
    if matches!(command.as_str(), "authenticate" | "getauthtoken" | "getauthchallenge") {
        return log_in(world, &command, params);
    }
    let Some(run) = runner(&command) else {
        return at_once(given_sid, true, Answer::Refused("invoker_commandname_invalid"));
    };
    let Some((sid, address, power)) = given_sid.and_then(|sid| session(world, &sid).map(|(a, p)| (sid, a, p))) else {
        return at_once(None, true, Answer::Refused("session_invalid"));
    };
    if command == "logout" {
        locked(&world.sessions).remove(&sid);
    }
    if writes(&command) && world.tallies.api_zero.strikes(world.difficulties.api_zero) {
        return at_once(Some(sid), true, applied(false));
    }
    let outcome = run(&Call { world, params, address, power });
    at_once(Some(sid), true, outcome.unwrap_or_else(|refused| refused))
}

/// The session's owner, if it has not expired.
fn session(world: &World, sid: &str) -> Option<(String, Power)> {
    let mut sessions = locked(&world.sessions);
    let session = sessions.get_mut(sid)?;
    session.requests += 1;
    let most = world.difficulties.session_requests;
    if most > 0 && session.requests > most {
        sessions.remove(sid);
        return None;
    }
    Some((session.address.clone(), session.power))
}

fn log_in(world: &World, command: &str, params: &Node) -> (Duration, Option<String>, bool, Answer) {
    if command == "getauthchallenge" {
        let hash = Node::text("hashid", random_hex().repeat(16));
        let time = Node::text("timestamp", jiff::Timestamp::now().as_second().to_string());
        let answer = Node::of("result", vec![Node::text("classname", "tauthchallenge"), hash, time]);
        return (Duration::ZERO, None, true, Answer::Result(answer));
    }
    let refused = |uid| (Duration::ZERO, None, true, Answer::Refused(uid));
    match (params.value("email"), params.child("password").map_or("", |node| node.text.as_str())) {
        ("", _) => refused("auth_email_missing"),
        (_, "") => refused("auth_password_missing"),
        (name, password) => match world.login(name, password) {
            Login::Wrong(delay) => (delay, None, true, Answer::Refused("auth_login_invalid")),
            Login::Disabled => refused("account_disabled_2"),
            Login::Right(address, power) if command == "authenticate" => {
                let sid = random_hex();
                locked(&world.sessions).insert(sid.clone(), ApiSession { address, power, requests: 0 });
                (Duration::ZERO, Some(sid), true, applied(true))
            }
            Login::Right(address, _) => {
                let token = Node::text("authtoken", random_hex().to_uppercase());
                let name = accounts::name_node(
                    &locked(&world.directory).account(&address).map(|a| a.text("u_name").to_owned()).unwrap_or_default(),
                );
                let fields = vec![Node::text("email", address), name, Node::new("avatartoken"), token, Node::new("avatarurl")];
                (Duration::ZERO, None, true, Answer::Result(Node::of("result", fields)))
            }
        },
    }
}

fn runner(command: &str) -> Option<fn(&Call<'_>) -> Outcome> {
    Some(match command {
        "logout" => |_| Ok(applied(true)),
        "getsessioninfo" => session_info,
        "impersonatewebclient" => impersonate,
        "getlicenseinfo" => licence,
        "getserverproperties" => server_properties,
        "setserverproperties" => set_server_properties,
        "createdomain" => domains::create,
        "deletedomain" => domains::delete,
        "getdomainsinfolist" => domains::list,
        "getdomainproperties" => domains::properties,
        "setdomainproperties" => domains::set_properties,
        "getaccountsinfolist" => accounts::list,
        "createaccount" => accounts::create,
        "deleteaccounts" => accounts::delete,
        "getaccountproperties" => accounts::properties,
        "setaccountproperties" => accounts::set_properties,
        "setaccountpassword" => accounts::set_password,
        "generateaccountpassword" => accounts::generate_password,
        "expireaccountpassword" => accounts::expire_password,
        "getaccountmemberinfolist" => members::list,
        "addaccountmembers" | "editaccountmembers" => members::add,
        "deleteaccountmembers" => members::delete,
        "deleteallaccountmembers" => members::delete_all,
        "getaccountfolderlist" => folders::list,
        "getaccountfolderpermissions" => folders::permissions,
        "setaccountfolderpermissions" => folders::set_permissions,
        "inheritaccountfolderpermissions" => folders::inherit,
        "getrulesinfolist" => rules::list,
        "getrule" => rules::get,
        "addrule" => rules::add,
        "editrule" => rules::edit,
        "deleterule" => rules::delete,
        "moverule" => rules::shift,
        "setruleactive" => rules::set_active,
        _ => return None,
    })
}

impl Call<'_> {
    /// Only administrators; of a domain, only within it.
    fn needs_power_over(&self, address_or_domain: &str) -> Result<(), Answer> {
        let domain = address_or_domain.rsplit('@').next().unwrap_or_default();
        let own = self.address.rsplit('@').next() == Some(domain);
        match self.power {
            Power::Server => Ok(()),
            Power::Domain if own => Ok(()),
            _ => refused("account_permission"),
        }
    }

    /// The address in a parameter, of an account that is there and may be managed.
    fn account_param(&self, name: &str) -> Result<String, Answer> {
        let address = self.params.value(name).to_lowercase();
        if address.is_empty() {
            return refused("account_email_parameter_missing");
        }
        if locked(&self.world.directory).account(&address).is_none() {
            return refused("account_invalid");
        }
        self.needs_power_over(&address)?;
        Ok(address)
    }

    /// The domain in a parameter.
    fn domain_param(&self) -> Result<String, Answer> {
        let domain = self.params.value("domainstr").to_lowercase();
        if domain.is_empty() {
            return refused("domain_parameter_empty");
        }
        if !locked(&self.world.directory).domains.contains_key(&domain) {
            return refused("domain_invalid");
        }
        self.needs_power_over(&domain)?;
        Ok(domain)
    }
}

fn session_info(call: &Call<'_>) -> Outcome {
    let admin = match call.power {
        Power::User => "0",
        Power::Domain => "1",
        Power::Server => "2",
    };
    let domain = call.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let fields = vec![Node::text("email", call.address.clone()), Node::text("domain", domain), Node::text("admintype", admin)];
    Ok(Answer::Result(Node::of("result", fields)))
}

fn impersonate(call: &Call<'_>) -> Outcome {
    call.account_param("email")?;
    Ok(text(format!("{}/webmail/?atoken={}", call.world.http(), random_hex().to_uppercase())))
}

/// The shape is not known; these are names that a reader can do without.
fn licence(call: &Call<'_>) -> Outcome {
    let used = locked(&call.world.directory).users_count();
    let fields = vec![
        Node::text("licensetype", "1"),
        Node::text("accountslimit", call.world.difficulties.licence_accounts.to_string()),
        Node::text("accountsused", used.to_string()),
    ];
    Ok(Answer::Result(Node::of("result", fields)))
}

fn server_properties(call: &Call<'_>) -> Outcome {
    let directory = locked(&call.world.directory);
    Ok(properties::read(call.params.child("serverpropertylist"), |name| {
        let value = directory.server.properties.get(name).cloned();
        (value, if name == "c_version" { "1" } else { "2" })
    }))
}

fn set_server_properties(call: &Call<'_>) -> Outcome {
    if call.power != Power::Server {
        return refused("account_permission");
    }
    let mut directory = locked(&call.world.directory);
    let known = |name: &str, there: &Properties| there.contains_key(name) && name != "c_version";
    let mut done = false;
    for (name, value) in properties::written(call.params.child("propertyvaluelist")) {
        if known(&name, &directory.server.properties) {
            directory.server.properties.insert(name, value);
            done = true;
        }
    }
    directory.save_server()?;
    Ok(applied(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_match_in_any_case_and_in_linear_time() {
        assert!(
            mask_matches("*EXAMPLE.test", "lab.example.test")
                && mask_matches("", "x")
                && mask_matches("a?c", "abc")
                && mask_matches("*", "")
        );
        assert!(!mask_matches("a", "ab") && !mask_matches("ab", "a"));
        assert!(!mask_matches(&format!("{}b", "*a".repeat(500)), &"a".repeat(5_000)));
    }
}
