//! Sieve's grammar (RFC 5228 section 8): a script as a tree of commands and tests, with the line of each.

/// Deepest nesting of blocks and tests; RFC 5228 asks for 15.
const MAX_DEPTH: usize = 32;

/// What is wrong, and on which line.
pub(super) type Fault = (u32, String);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Tag(String),
    Number(u64),
    Text(String),
    Sign(char),
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    /// `:contains`, in lower case without the colon.
    Tag(String),
    /// `100K`
    Number(u64),
    /// `"a"` or `["a", "b"]`
    Texts(Vec<String>),
}

/// A command or a test.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: u32,
    /// In lower case.
    pub name: String,
    pub arguments: Vec<Argument>,
    pub tests: Vec<Node>,
    pub block: Vec<Node>,
}

impl Node {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.arguments.iter().any(|a| matches!(a, Argument::Tag(t) if t == tag))
    }

    /// Lists and strings in their order, without those that belong to a tag with a value.
    pub fn texts(&self, valued_tags: &[&str]) -> Vec<&[String]> {
        let mut texts = Vec::new();
        let mut of_tag = false;
        for argument in &self.arguments {
            match argument {
                Argument::Texts(list) if !of_tag => texts.push(list.as_slice()),
                _ => {}
            }
            of_tag = matches!(argument, Argument::Tag(t) if valued_tags.contains(&t.as_str()));
        }
        texts
    }

    /// What stands after a tag.
    pub fn value_of(&self, tag: &str) -> Option<&Argument> {
        let at = self.arguments.iter().position(|a| matches!(a, Argument::Tag(t) if t == tag))?;
        self.arguments.get(at + 1)
    }

    pub fn text_of(&self, tag: &str) -> Option<&str> {
        match self.value_of(tag)? {
            Argument::Texts(list) => list.first().map(String::as_str),
            _ => None,
        }
    }
}

/// Parses a whole script.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let commands = parser.commands(0)?;
    match parser.peek() {
        None => Ok(commands),
        Some(_) => Err(parser.fault("an unexpected sign")),
    }
}

fn tokens(text: &str) -> Result<Vec<(u32, Token)>, Fault> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or_else(|| self.rest());
        self.line += u32::try_from(taken.matches('\n').count()).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    /// White space and comments.
    fn blanks(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            if blank > 0 {
                self.skip(blank);
            } else if rest.starts_with('#') {
                self.skip(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or((self.line, "a comment without an end".to_owned()))?;
                self.skip(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Option<(u32, Token)>, Fault> {
        self.blanks()?;
        let line = self.line;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let word = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let token = match first {
            '"' => Token::Text(self.quoted()?),
            ':' => {
                self.skip(1);
                let length = word(self.rest());
                Token::Tag(self.skip(length).to_ascii_lowercase())
            }
            c if c.is_ascii_digit() => self.number()?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.skip(word(rest)).to_ascii_lowercase();
                if name == "text" && self.rest().starts_with(':') { self.multiline()? } else { Token::Word(name) }
            }
            '[' | ']' | '(' | ')' | '{' | '}' | ',' | ';' => {
                self.skip(1);
                Token::Sign(first)
            }
            _ => return Err((line, "a sign that Sieve does not know".to_owned())),
        };
        Ok(Some((line, token)))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let rest = self.rest();
        let digits = self.skip(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let factor = match self.rest().chars().next().map(|c| c.to_ascii_uppercase()) {
            Some('K') => 1_u64 << 10,
            Some('M') => 1 << 20,
            Some('G') => 1 << 30,
            _ => 1,
        };
        if factor > 1 {
            self.skip(1);
        }
        let value = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        value.map(Token::Number).ok_or((self.line, "a number that is too large".to_owned()))
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let line = self.line;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err((line, "a string without an end".to_owned()))
    }

    /// `text:` up to a line of one dot; a line that begins with two dots has one too many.
    fn multiline(&mut self) -> Result<Token, Fault> {
        let line = self.line;
        let head = self.rest().find('\n').map_or(self.rest().len(), |n| n + 1);
        self.skip(head);
        let mut text = String::new();
        while !self.rest().is_empty() {
            let length = self.rest().find('\n').map_or(self.rest().len(), |n| n + 1);
            let one = self.skip(length);
            if one.trim_end_matches(['\r', '\n']) == "." {
                return Ok(Token::Text(text));
            }
            text.push_str(one.strip_prefix('.').filter(|_| one.starts_with("..")).unwrap_or(one));
        }
        Err((line, "a text without its dot".to_owned()))
    }
}

struct Parser {
    tokens: Vec<(u32, Token)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line)
    }

    fn fault(&self, what: &str) -> Fault {
        (self.line(), what.to_owned())
    }

    fn takes(&mut self, sign: char) -> bool {
        let fits = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(fits);
        fits
    }

    fn commands(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut commands = Vec::new();
        while matches!(self.peek(), Some(Token::Word(_))) {
            let mut command = self.node(depth)?;
            if self.takes('{') {
                command.block = self.commands(depth + 1)?;
                if !self.takes('}') {
                    return Err(self.fault("a block without an end"));
                }
            } else if !self.takes(';') {
                return Err(self.fault("a command without its semicolon"));
            }
            commands.push(command);
        }
        Ok(commands)
    }

    /// A name, arguments, and tests: `name :tag "text" ["a", "b"] 1 test` or `name (test, test)`.
    fn node(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err(self.fault("nested too deeply"));
        }
        let line = self.line();
        let Some(Token::Word(name)) = self.peek().cloned() else { return Err(self.fault("a name was expected")) };
        self.at += 1;
        let mut node = Node { line, name, arguments: Vec::new(), tests: Vec::new(), block: Vec::new() };
        loop {
            match self.peek().cloned() {
                Some(Token::Tag(tag)) => node.arguments.push(Argument::Tag(tag)),
                Some(Token::Number(number)) => node.arguments.push(Argument::Number(number)),
                Some(Token::Text(text)) => node.arguments.push(Argument::Texts(vec![text])),
                Some(Token::Sign('[')) => {
                    let list = self.list()?;
                    node.arguments.push(Argument::Texts(list));
                    continue;
                }
                _ => break,
            }
            self.at += 1;
        }
        if self.takes('(') {
            loop {
                node.tests.push(self.node(depth + 1)?);
                if !self.takes(',') {
                    break;
                }
            }
            if !self.takes(')') {
                return Err(self.fault("tests without their closing bracket"));
            }
        } else if matches!(self.peek(), Some(Token::Word(_))) {
            node.tests.push(self.node(depth + 1)?);
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<String>, Fault> {
        self.at += 1;
        let mut list = Vec::new();
        while let Some(Token::Text(text)) = self.peek().cloned() {
            self.at += 1;
            list.push(text);
            if !self.takes(',') {
                break;
            }
        }
        if self.takes(']') { Ok(list) } else { Err(self.fault("a list without an end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_with_its_lines() {
        let script = "require [\"fileinto\", \"copy\"]; # why\n/* a\n comment */ if anyof (header :is \"a\" \"b\\\"c\", size :over 10K)\n{ fileinto :copy \"x\"; stop; }\nvacation text:\nI am away.\n..dot\n.\n;\n";
        let commands = parse(script).unwrap();
        assert_eq!(
            commands.iter().map(|c| (c.line, c.name.as_str())).collect::<Vec<_>>(),
            [(1, "require"), (3, "if"), (5, "vacation")]
        );
        let test = &commands[1].tests[0];
        assert_eq!(test.tests[0].texts(&[]), [["a"], ["b\"c"]]);
        assert_eq!(test.tests[1].arguments, [Argument::Tag("over".to_owned()), Argument::Number(10 << 10)]);
        assert_eq!(commands[2].texts(&[])[0], ["I am away.\n.dot\n"]);
    }

    #[test]
    fn what_is_no_script_is_refused_with_its_line() {
        for (script, line) in
            [("keep", 1), ("\nif true {\n keep;", 3), ("x \"", 1), ("a [\"b\"", 1), ("\n\n@", 3), ("text: a", 1)]
        {
            assert_eq!(parse(script).map_err(|(line, _)| line).unwrap_err(), line, "{script}");
        }
        assert!(parse(&"if not ".repeat(10_000)).is_err());
    }
}
