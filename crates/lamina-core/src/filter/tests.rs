use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A thing with fields by their path, joined with `/`.
struct Thing(BTreeMap<&'static str, &'static str>);

impl Fields for Thing {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        self.0.get(path.join("/").as_str()).map(|&value| value.into())
    }
}

fn thing() -> Thing {
    Thing(BTreeMap::from([
        ("name", "redis"),
        ("empty", ""),
        ("topic", "/tasks/exit"),
        ("n1_A", "x"),
        ("labels/a b.c", "deep"),
        ("target/digest", "sha256:abc"),
        ("text", "é \"q\" 7\n"),
    ]))
}

#[test]
fn filters_match_as_containerd_would() {
    let thing = thing();
    for (text, matches) in [
        // All, presence, conjunction.
        ("", true),
        ("name", true),
        ("empty", true),
        ("absent", false),
        ("name,empty", true),
        ("name,absent", false),
        ("n1_A", true),
        ("target.digest", true),
        ("target", false),
        ("\"name\"", true),
        ("\"target\".\"digest\"==sha256:abc", true),
        ("labels.\"a b.c\"", true),
        ("labels.\"a b\".c", false),
        // Equality.
        ("name==redis", true),
        ("name==\"redis\"", true),
        ("name==Redis", false),
        ("name==redi", false),
        ("name=='redis'", false),
        ("absent==\"\"", false),
        ("empty==\"\"", true),
        ("name!=redis", false),
        ("name!=x", true),
        ("absent!=x", true),
        ("absent!=\"\"", false),
        ("empty!=\"\"", false),
        ("topic==\"/tasks/exit\"", true),
        ("topic!=\"/tasks/exit\"", false),
        ("name==redis,topic!=x", true),
        ("name==redis,topic==x", false),
        ("target.digest==sha256:abc", true),
        // Words may contain what they may not begin with.
        ("name!=a=b!c~d.e/f|g\"h'", true),
        ("name!='x'", true),
        ("name!=-", true),
        ("name!=(", true),
        ("name!=é€😀", true),
        ("name!=\u{1}b", true),
        ("name!=\u{200b}", true),
        // Expressions.
        ("name~=ed", true),
        ("name~=^ed", false),
        ("name~=^r.*s$", true),
        ("name~=\"^redis$\"", true),
        ("name~=/^re/", true),
        ("name~=|^re|", true),
        ("topic~=|^/tasks/|", true),
        ("topic~=/^\\/tasks\\//", true),
        ("topic~=\"^/tasks/\"", true),
        ("name~=|a\\|redis|", true),
        ("text~=|\\\\d|", true),
        ("text~=/\\\\D/", true),
        ("text~=\\d", true),
        ("name~=\"\"", true),
        ("absent~=\"\"", true),
        ("absent~=^$", true),
        ("absent~=\".\"", false),
        ("name~=[", false),
        ("name~=(", false),
        ("name~=\"\\xff\"", false),
        ("target.digest~=^sha256:abc,name", true),
        // Escapes.
        ("name==\"\\162\\x65\\u0064\\U00000069s\"", true),
        ("text==\"\\u00e9 \\\"q\\\" 7\\n\"", true),
        ("text==\"\\xc3\\xa9 \\042q\\042 7\\012\"", true),
        ("name!=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"", true),
        ("name!=\"\\xff\"", true),
        ("name!=\"\\ud800\"", true),
        ("name!=\"'/|,. =\"", true),
        ("\"\\x6eame\"==redis", true),
        // Space is skipped before a field, an operator and a value.
        (" name", true),
        ("\t\r\n name\u{a0}== \u{2003}redis, empty", true),
        ("target. digest == sha256:abc", true),
        ("name== \"redis\"", true),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches(&thing), matches, "{text}");
        let again = Filter::parse(&filter.to_string()).unwrap();
        assert_eq!(again, filter, "{text} printed as {filter}");
        assert_eq!(again.matches(&thing), matches, "{filter}");
    }
}

#[test]
fn malformed_filters_are_refused_at_the_right_place() {
    for (text, at, says) in [
        (" ", 1, "expected a field"),
        (",", 0, "expected a field"),
        ("name,", 5, "expected a field"),
        ("name,,name", 5, "expected a field"),
        ("name, ", 6, "expected a field"),
        (",name", 0, "expected a field"),
        (".name", 0, "expected a field"),
        ("name.", 5, "expected a field"),
        ("a..b", 2, "expected a field"),
        ("a.=b", 2, "expected a field"),
        ("==a", 0, "expected a field"),
        ("'name'", 0, "expected a field"),
        ("/name/==a", 0, "expected a field"),
        ("|name|", 0, "expected a field"),
        ("é", 0, "expected a field"),
        ("-a", 0, "expected a field"),
        ("na-me", 2, "expected \"==\""),
        ("name ", 5, "expected \"==\""),
        ("name ,a", 5, "expected \"==\""),
        ("name .a", 5, "expected \"==\""),
        ("name a", 5, "expected \"==\""),
        ("a\"b\"", 1, "expected \"==\""),
        ("\"a\"\"b\"", 3, "expected \"==\""),
        ("name=a", 4, "\"=\" is not an operator"),
        ("name===a", 4, "\"===\" is not an operator"),
        ("name=~a", 4, "\"=~\" is not an operator"),
        ("name!a", 4, "\"!\" is not an operator"),
        ("name==!a", 4, "\"==!\" is not an operator"),
        ("name==", 6, "expected a value"),
        ("name== ", 7, "expected a value"),
        ("name==,a", 6, "expected a value"),
        ("name==.a", 6, "expected a value"),
        ("name== =a", 7, "expected a value"),
        ("name== !a", 7, "expected a value"),
        ("name== ~a", 7, "expected a value"),
        ("name==a\u{1}", 7, "expected ',' or the end"),
        ("name==a\u{200b}", 7, "expected ',' or the end"),
        ("name==\0", 6, "expected a value"),
        ("name==/a/", 6, "must be in \"…\""),
        ("name!=|a|", 6, "must be in \"…\""),
        ("name==/a", 6, "must be in \"…\""),
        ("name==a ", 7, "expected ',' or the end"),
        ("name==a ,b", 7, "expected ',' or the end"),
        ("name==a b", 7, "expected ',' or the end"),
        ("name==a\u{fffd}", 7, "expected ',' or the end"),
        ("name==\"a\"b", 9, "expected ',' or the end"),
        ("name==\"a\" ", 9, "expected ',' or the end"),
        ("name==\"a", 6, "not closed"),
        ("name==\"a\nb\"", 6, "not closed"),
        ("name==\"a\0b\"", 6, "not closed"),
        ("name~=/a|", 6, "not closed"),
        ("name==\"\\", 7, "none of the escapes"),
        ("name==\"\\q\"", 7, "none of the escapes"),
        ("name==\"\\'\"", 7, "none of the escapes"),
        ("name==\"\\/\"", 7, "none of the escapes"),
        ("name~=/\\d/", 7, "none of the escapes"),
        ("name~=|\\/|", 7, "none of the escapes"),
        ("name==\"a\\x4\"", 8, "none of the escapes"),
        ("name==\"\\xg0\"", 7, "none of the escapes"),
        ("name==\"\\42\"", 7, "none of the escapes"),
        ("name==\"\\400\"", 7, "none of the escapes"),
        ("name==\"\\u12\"", 7, "none of the escapes"),
        ("name==\"\\U00110000\"", 7, "none of the escapes"),
        ("\"\\xff\"==a", 0, "not UTF-8"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::InvalidArgument, "{text:?}");
        let place = format!("filters: {text:?} at byte {at}: ");
        assert!(error.message().starts_with(&place), "{text:?}: {error}");
        assert!(error.message()[place.len()..].contains(says), "{text:?}: {error}");
    }
}

#[test]
fn of_several_filters_one_is_enough() {
    let thing = thing();
    for (texts, matches, everything) in [
        (&[][..], true, true),
        (&[""], true, true),
        (&["absent"], false, false),
        (&["absent", "name"], true, false),
        (&["absent", "name==x,name"], false, false),
        (&["absent", ""], true, true),
    ] {
        let filters = Filters::parse_all(texts).unwrap();
        assert_eq!(filters.matches(&thing), matches, "{texts:?}");
        assert_eq!(filters.match_everything(), everything, "{texts:?}");
        assert_eq!(Filters::parse_all(&filters.to_texts()).unwrap(), filters);
    }
    assert!(Filters::parse_all(&["name", "name="]).is_err());
    assert!(Filters::default().matches(&thing));
}

#[test]
fn labels_are_found_by_the_rest_of_the_path() {
    let labels: Labels = [("containerd.io/gc.root".into(), "now".into())].into();
    assert_eq!(label(&labels, &["containerd.io/gc.root"]).as_deref(), Some("now"));
    assert_eq!(label(&labels, &["containerd", "io/gc", "root"]).as_deref(), Some("now"));
    assert_eq!(label(&labels, &["containerd"]), None);
    assert_eq!(label(&labels, &[]), None);
}

#[test]
fn expressions_mean_what_they_mean_in_go() {
    // Expression, text, whether Go finds it.
    for (expression, text, finds) in [
        (r"\d", "٣", false),
        (r"\D", "٣", true),
        (r"\w", "é", false),
        (r"^\W$", "é", true),
        (r"\s", "\u{a0}", false),
        (r"\s", "\u{b}", false),
        (r"\S", "\u{b}", true),
        (r"[\d]", "٣", false),
        (r"[^\d]", "٣", true),
        (r"[\D]", "7", false),
        (r"[\w-]", "-", true),
        (r"\bab\b", "éabé", true),
        (r"a\Bb", "ab", true),
        (r"\Bé", "éé", true),
        ("a{", "a{", true),
        ("a{,2}", "a{,2}", true),
        ("a{,2}", "aa", false),
        ("a{01}", "a{01}", true),
        ("{a", "{a", true),
        ("^a{2}$", "aa", true),
        ("^a{2,}$", "aaa", true),
        ("^a{1,2}?$", "aaa", false),
        ("a{1001}", "a", false),
        ("a{2,1}", "aa", false),
        ("^(a{0})$", "", true),
        ("a**", "a", false),
        ("a+*", "a", false),
        ("a{2}{2}", "aaaa", false),
        ("a??", "a", true),
        ("a???", "a", false),
        ("*", "*", false),
        ("^*", "x", true),
        ("(*)", "x", false),
        (r"\Qa.b\E.", "a.bc", true),
        (r"\Qa.b\E", "axb", false),
        (r"\Qa\Eb*c", "ac", true),
        (r"\Q.", ".", true),
        (r"\Q.", "x", false),
        (r"^\101\x42\x{43}\07$", "ABC\u{7}", true),
        (r"\1", "1", false),
        (r"(a)\1", "aa", false),
        (r"\8", "8", false),
        (r"\_\-\/\<\#\&", "_-/<#&", true),
        (r"\<ab\>", "ab", false),
        (r"\é", "é", false),
        (r"\y", "y", false),
        (r"\Z", "Z", false),
        (r"\Aa\z", "a", true),
        ("a$", "a\n", false),
        ("(?m)a$", "a\n", true),
        ("a.b", "a\nb", false),
        ("(?s)a.b", "a\nb", true),
        ("[^a]", "\n", true),
        ("(?i)REDIS", "redis", true),
        ("(?i:R)edis", "redis", true),
        ("(?-i)a", "a", true),
        ("(?x) a", "a", false),
        ("(?u)a", "a", false),
        ("(?=a)", "a", false),
        ("(?<!a)", "a", false),
        ("(?P<n>a)(?<m>b)", "ab", true),
        ("(?P=n)", "a", false),
        ("(?P<n-x>a)", "a", false),
        ("^[[a]$", "[", true),
        ("^[a[]$", "[", true),
        ("^[a&&b]$", "&", true),
        ("^[a--b]$", "a", false),
        ("^[+--]$", ",", true),
        ("^[a~~b]$", "~", true),
        ("^[]a]$", "]", true),
        ("^[^]a]$", "b", true),
        ("^[a-]$", "-", true),
        ("^[-a]$", "-", true),
        ("^[a-c-]$", "-", true),
        ("[z-a]", "m", false),
        (r"^[\]\-\\]$", "-", true),
        (r"^[\x41-\103]$", "B", true),
        ("^[[:alpha:]]$", "é", false),
        ("^[[:alpha:][:digit:]]+$", "a1", true),
        ("^[[:^alpha:]]$", "é", true),
        ("[[:nope:]]", "n", false),
        ("[[:Alpha:]]", "a", false),
        ("^[[:]+$", "[:", true),
        (r"^\pL\p{Greek}\PN\p{^L}$", "éλx1", true),
        (r"^[\p{Lu}\d]+$", "É1", true),
        (r"\p{Nope}", "a", false),
        (r"\p", "p", false),
        ("[a", "a", false),
        ("a)", "a", false),
        ("a\\", "a", false),
        ("a|b]}", "b]}", true),
        ("", "", true),
    ] {
        let pattern = Pattern::new(expression.as_bytes().to_vec());
        assert_eq!(pattern.finds(text), finds, "{expression} in {text:?}");
    }
}

#[test]
fn huge_expressions_match_nothing_and_cost_little() {
    let long = "a".repeat(40 << 10);
    let start = std::time::Instant::now();
    for expression in [r"((\pL{1000}){1000}){1000}", "(((a{900}){900}){900}){900}", &long] {
        assert!(!Pattern::new(expression.as_bytes().to_vec()).finds(&long), "{expression:.20}");
    }
    let brackets = format!("[{}x]", "[:".repeat(15_000));
    assert!(Pattern::new(brackets.into()).finds(":"));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = Filter::parse(&text);
        let _ = Pattern::new(text.into_bytes()).finds("abc");
    }

    #[test]
    fn near_filters_never_panic(text in "[a\"/|.,=!~ \\\\x0\n\\[\\]{}()?:^-]{0,24}") {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
        }
        let _ = Pattern::new(text.into_bytes());
    }

    #[test]
    fn any_path_and_value_survive_printing(
        path in prop::collection::vec(".{0,6}", 1..4),
        value in prop::collection::vec(any::<u8>(), 0..12),
        operator in 0..4,
    ) {
        let test = match operator {
            0 => Test::Present,
            1 => Test::Equal(value),
            2 => Test::NotEqual(value),
            _ => Test::Matches(Pattern::new(value)),
        };
        let filter = Filter { selectors: vec![Selector { path, test }; 2] };
        prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
    }

    #[test]
    fn quoted_literals_find_exactly_themselves(text in "\\PC{0,12}", other in "\\PC{0,12}") {
        let mut go = String::new();
        for c in text.chars() {
            if c.is_ascii_punctuation() {
                go.push('\\');
            }
            go.push(c);
        }
        let pattern = Pattern::new(format!("^{go}$").into_bytes());
        prop_assert!(pattern.finds(&text));
        prop_assert_eq!(pattern.finds(&other), text == other);
    }
}
