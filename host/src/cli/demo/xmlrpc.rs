//! XML-RPC as supervisord speaks it: calls in, answers out. Only for the demo's own supervisor.

use std::fmt::{Display, Write};

use quick_xml::Reader;
use quick_xml::escape::partial_escape;
use quick_xml::events::Event;

/// A value on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
    Struct(Vec<(&'static str, Value)>),
    /// A structure as it came in, with names we did not choose.
    Members(Vec<(String, Value)>),
}

/// A method and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub method: String,
    pub params: Vec<Value>,
}

/// What went wrong, in supervisord's numbers and words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub code: i64,
    pub text: String,
}

impl Fault {
    pub(super) fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// As a member of a multicall's answer.
    pub(super) fn value(self) -> Value {
        Value::Struct(vec![("faultCode", Value::Int(self.code)), ("faultString", Value::Text(self.text))])
    }
}

/// Writes an answer as supervisord does, line ends included.
pub(super) fn answer(result: Result<Value, Fault>) -> String {
    let mut xml = "<?xml version='1.0'?>\n<methodResponse>\n".to_owned();
    match result {
        Ok(value) => {
            xml += "<params>\n<param>\n";
            write(&mut xml, &value);
            xml += "</param>\n</params>\n";
        }
        Err(fault) => {
            xml += "<fault>\n";
            write(&mut xml, &fault.value());
            xml += "</fault>\n";
        }
    }
    xml + "</methodResponse>\n"
}

fn write(xml: &mut String, value: &Value) {
    xml.push_str("<value>");
    match value {
        Value::Int(number) => xml.push_str(&elem("int", number)),
        Value::Bool(flag) => xml.push_str(&elem("boolean", u8::from(*flag))),
        Value::Text(text) => xml.push_str(&elem("string", partial_escape(text.as_str()))),
        Value::Array(values) => {
            xml.push_str("<array><data>\n");
            for value in values {
                write(xml, value);
            }
            xml.push_str("</data></array>");
        }
        Value::Struct(members) => write_members(xml, members.iter().map(|(name, value)| (*name, value))),
        Value::Members(members) => {
            write_members(xml, members.iter().map(|(name, value)| (name.as_str(), value)));
        }
    }
    xml.push_str("</value>\n");
}

fn elem(name: &str, content: impl Display) -> String {
    format!("<{name}>{content}</{name}>")
}

fn write_members<'a>(xml: &mut String, members: impl Iterator<Item = (&'a str, &'a Value)>) {
    xml.push_str("<struct>\n");
    for (name, value) in members {
        let _ = writeln!(xml, "<member>\n<name>{name}</name>");
        write(xml, value);
        xml.push_str("</member>\n");
    }
    xml.push_str("</struct>");
}

/// An element with what is in it.
#[derive(Debug, Default)]
struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Reads a `value` element.
    fn value(&self) -> Option<Value> {
        let Some(inner) = self.children.first() else { return Some(Value::Text(self.text.clone())) };
        let text = inner.text.trim();
        Some(match inner.name.as_str() {
            "int" | "i4" | "i8" => Value::Int(text.parse().ok()?),
            "boolean" => Value::Bool(text == "1"),
            "string" => Value::Text(inner.text.clone()),
            "array" => {
                let data = inner.child("data")?.children.iter();
                Value::Array(data.map(Node::value).collect::<Option<_>>()?)
            }
            "struct" => {
                let member =
                    |node: &Node| Some((node.child("name")?.text.clone(), node.child("value")?.value()?));
                Value::Members(inner.children.iter().map(member).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

/// Reads a call; `None` for anything else.
pub(super) fn call(xml: &str) -> Option<Call> {
    let root = tree(xml)?;
    let method = root.child("methodName")?.text.trim().to_owned();
    let params = root.child("params").map_or(&[][..], |params| &params.children);
    let params = params.iter().map(|param| param.child("value")?.value()).collect::<Option<_>>()?;
    (root.name == "methodCall" && !method.is_empty()).then_some(Call { method, params })
}

fn tree(xml: &str) -> Option<Node> {
    let mut reader = Reader::from_str(xml);
    // The first is not an element; it collects the root.
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push(Node { name: start.name().as_ref().to_owned(), ..Node::default() });
            }
            Event::Empty(start) => {
                let node = Node { name: start.name().as_ref().to_owned(), ..Node::default() };
                open.last_mut()?.children.push(node);
            }
            Event::End(_) => {
                let node = open.pop()?;
                open.last_mut()?.children.push(node);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(&text),
            Event::GeneralRef(name) => open.last_mut()?.text.push(reference(&name)?),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::CData(_) | Event::PI(_) | Event::DocType(_) => return None,
            Event::Eof => break,
        }
    }
    let mut root = open.pop()?;
    if open.is_empty() { root.children.pop() } else { None }
}

/// The character of `&name;`: the five of XML, or a number.
fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let hexadecimal = number.strip_prefix('x').map(|digits| u32::from_str_radix(digits, 16));
            char::from_u32(hexadecimal.unwrap_or_else(|| number.parse()).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read() {
        let xml = "<?xml version='1.0'?><methodCall><methodName>supervisor.startProcess</methodName><params>\
                   <param><value><string>a&amp;b&#33;</string></value></param>\
                   <param><value><boolean>0</boolean></value></param><param><value>bare</value></param>\
                   </params></methodCall>";
        let params = vec![Value::Text("a&b!".into()), Value::Bool(false), Value::Text("bare".into())];
        assert_eq!(call(xml), Some(Call { method: "supervisor.startProcess".into(), params }));
        for bad in ["", "garbage", "<methodCall></methodCall>", "<methodCall><methodName>x</methodName>"] {
            assert_eq!(call(bad), None, "{bad}");
        }
    }

    /// Recorded from supervisord 4.2.5.
    #[test]
    fn answers_are_written_as_supervisord_writes_them() {
        let fault = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n\
                     <name>faultCode</name>\n<value><int>10</int></value>\n</member>\n<member>\n\
                     <name>faultString</name>\n<value><string>BAD_NAME: nope</string></value>\n</member>\n\
                     </struct></value>\n</fault>\n</methodResponse>\n";
        assert_eq!(answer(Err(Fault::new(10, "BAD_NAME: nope"))), fault);
        let multicall = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n\
                         <value><boolean>1</boolean></value>\n</data></array></value>\n</param>\n</params>\n\
                         </methodResponse>\n";
        assert_eq!(answer(Ok(Value::Array(vec![Value::Bool(true)]))), multicall);
    }
}
