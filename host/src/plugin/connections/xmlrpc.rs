//! Finds out which methods an XML-RPC body calls, so that a rule can name them.
//!
//! It is a guard, not a client: what it cannot follow with certainty it refuses.

use quick_xml::Reader;
use quick_xml::events::Event;

/// The deepest element that is followed.
const MAX_DEPTH: usize = 64;

/// The methods that a body calls, those inside a `system.multicall` instead of the multicall itself.
pub(super) fn methods(body: &[u8]) -> Result<Vec<String>, String> {
    let call = Call::parse(body)?;
    if call.method != "system.multicall" {
        return Ok(vec![call.method]);
    }
    if call.inner.is_empty() {
        return Err("the multicall names no method".to_owned());
    }
    if call.inner.iter().any(|m| m == "system.multicall") {
        return Err("a multicall in a multicall".to_owned());
    }
    Ok(call.inner)
}

#[derive(Default)]
struct Call {
    method: String,
    /// Values of the members named `methodName`.
    inner: Vec<String>,
}

/// State while reading: the open elements, and what the innermost ones have said so far.
#[derive(Default)]
struct Walk {
    open: Vec<String>,
    text: String,
    member: Vec<Member>,
    call: Call,
}

/// An open struct member.
#[derive(Default)]
struct Member {
    name: String,
    /// Whether its value was read as a method's name.
    found: bool,
}

/// All elements of XML-RPC. Anything else might be read by the other side in a way of its own: some
/// readers drop a prefix, some skip what they do not know.
const ELEMENTS: [&str; 19] = [
    "methodCall",
    "methodName",
    "params",
    "param",
    "value",
    "array",
    "data",
    "struct",
    "member",
    "name",
    "string",
    "int",
    "i4",
    "i8",
    "boolean",
    "double",
    "dateTime.iso8601",
    "base64",
    "nil",
];

impl Call {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text);
        let mut walk = Walk::default();
        loop {
            match reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(e) => walk.start(e.name().as_ref())?,
                Event::Empty(e) => {
                    walk.start(e.name().as_ref())?;
                    walk.end()?;
                }
                Event::End(_) => walk.end()?,
                Event::Text(t) => walk.text(&t)?,
                Event::GeneralRef(_) => walk.reference()?,
                Event::Decl(_) => {}
                Event::Comment(_) | Event::CData(_) | Event::PI(_) | Event::DocType(_) => {
                    return Err("comments, CDATA and document types are not allowed".to_owned());
                }
                Event::Eof => break,
            }
        }
        if !walk.open.is_empty() || walk.call.method.is_empty() {
            return Err("it is not a complete methodCall".to_owned());
        }
        Ok(walk.call)
    }
}

impl Walk {
    fn start(&mut self, name: &str) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        if !ELEMENTS.contains(&name) {
            return Err(format!("unknown element {name:?}"));
        }
        let parent = self.open.last().map_or("", String::as_str);
        let begun = !self.call.method.is_empty();
        let fits = match (self.open.len(), name) {
            (0, name) => name == "methodCall" && !begun,
            (1, "methodName") => !begun,
            (1, name) => name == "params" && begun,
            _ => !matches!(parent, "methodName" | "name" | "string" | "base64"),
        };
        if !fits {
            return Err(format!("unexpected element {name:?}"));
        }
        if name == "member" {
            self.member.push(Member::default());
        }
        if name == "value" && parent == "member" && self.member.last().is_some_and(|m| m.name.is_empty()) {
            return Err("a member's value stands before its name".to_owned());
        }
        self.text.clear();
        self.open.push(name.to_owned());
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.open.is_empty() && !text.trim().is_empty() {
            return Err("there is text outside of the methodCall".to_owned());
        }
        self.text.push_str(text);
        Ok(())
    }

    /// `&lt;` and its kind are fine in data, but would hide a name from us.
    fn reference(&mut self) -> Result<(), String> {
        let naming = self.member.last().is_some_and(|m| m.name == "methodName");
        if naming || matches!(self.open.last().map(String::as_str), Some("name" | "methodName") | None) {
            return Err("a name holds a character reference".to_owned());
        }
        self.text.push(' ');
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let name = self.open.pop().ok_or("an element ends that was not begun")?;
        let text = std::mem::take(&mut self.text);
        match name.as_str() {
            "methodName" => self.call.method = method_name(text.trim())?,
            "name" => {
                let member = self.member.last_mut().ok_or("a name outside of a member")?;
                text.trim().clone_into(&mut member.name);
            }
            "member" => self.member_end()?,
            // A value is text itself or holds one `string`.
            "value" | "string" if !text.trim().is_empty() => self.named(text.trim())?,
            _ => {}
        }
        Ok(())
    }

    fn member_end(&mut self) -> Result<(), String> {
        match self.member.pop() {
            Some(member) if member.name == "methodName" && !member.found => {
                Err("a member methodName is no string".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn named(&mut self, text: &str) -> Result<(), String> {
        let Some(member) = self.member.last_mut().filter(|m| m.name == "methodName") else { return Ok(()) };
        member.found = true;
        self.call.inner.push(method_name(text)?);
        Ok(())
    }
}

fn method_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:/".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(fits) {
        return Err(format!("{text:?} is no method name"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTI: &str = "<?xml version='1.0'?><methodCall><methodName>system.multicall</methodName><params>\
        <param><value><array><data>\
        <value><struct><member><name>methodName</name><value><string>supervisor.stopProcess</string></value></member>\
        <member><name>params</name><value><array><data><value>web</value></data></array></value></member></struct></value>\
        <value><struct><member><name>methodName</name><value>supervisor.startProcess</value></member></struct></value>\
        </data></array></value></param></params></methodCall>";

    #[test]
    fn a_multicall_is_looked_into() {
        assert_eq!(methods(MULTI.as_bytes()).unwrap(), ["supervisor.stopProcess", "supervisor.startProcess"]);
        let one = "<methodCall><methodName> supervisor.getState </methodName><params/></methodCall>";
        assert_eq!(methods(one.as_bytes()).unwrap(), ["supervisor.getState"]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for body in [
            "",
            "{}",
            "<methodCall>",
            "<methodCall></methodCall>",
            "<a/>",
            "<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>",
            "<methodCall><params/><methodName>a</methodName></methodCall>",
            "<methodCall><methodName>a</methodName></methodCall><methodCall><methodName>b</methodName></methodCall>",
            "<methodCall><methodName>a b</methodName></methodCall>",
            "<methodCall><methodName>&#97;</methodName></methodCall>",
            "<methodCall><methodName><![CDATA[a]]></methodName></methodCall>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><methodCall><methodName>a</methodName></methodCall>",
            "<methodCall><methodName>system.multicall</methodName></methodCall>",
            "x<methodCall><methodName>a</methodName></methodCall>",
            "<methodCall><methodName>a<b/>c</methodName></methodCall>",
            "<methodCall><x:methodName>a</x:methodName></methodCall>",
        ] {
            assert!(methods(body.as_bytes()).is_err(), "{body} passed");
        }
        for member in [
            "<name>methodName</name><value><base64>c3VwZXJ2aXNvci5zaHV0ZG93bg==</base64></value>",
            "<value>supervisor.shutdown</value><name>methodName</name>",
            "<name>method&#78;ame</name><value>supervisor.shutdown</value>",
            "<name>method<!-- -->Name</name><value>supervisor.shutdown</value>",
            "<name>methodName</name><value><string>supervisor.shut&#100;own</string></value>",
            "<name>methodName</name><value><x:string>supervisor.shutdown</x:string></value>",
        ] {
            let tricky = MULTI.replacen("<struct>", &format!("<struct><member>{member}</member>"), 1);
            assert!(methods(tricky.as_bytes()).is_err(), "{member} passed");
        }
        let deep = format!("<methodCall><methodName>a</methodName><params>{}", "<value>".repeat(100));
        assert!(methods(deep.as_bytes()).is_err());
    }
}
