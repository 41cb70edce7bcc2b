use lamina_core::Kind as Class;
use proptest::prelude::*;

use super::*;

fn shown(mount: &Mount) -> String {
    let spec = mount.spec();
    let options: Vec<&str> =
        spec["options"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
    let text = |key: &str| spec[key].as_str().unwrap().to_owned();
    format!("{} {} {} {}", text("type"), text("source"), text("destination"), options.join(","))
}

#[test]
fn volumes() {
    for (text, expected) in [
        ("/a:/b", "bind /a /b rbind,rprivate,rw"),
        ("/a:/b:ro", "bind /a /b rbind,rprivate,ro"),
        ("/a:/b:rw", "bind /a /b rbind,rprivate,rw"),
        ("/a/./c//:/b/", "bind /a/c /b rbind,rprivate,rw"),
        ("/:/host:ro,rslave", "bind / /host rbind,rslave,ro"),
        ("/a:/b:bind,shared", "bind /a /b bind,shared,rw"),
    ] {
        assert_eq!(shown(&Mount::volume(text).unwrap()), expected, "{text}");
    }
    for (text, kind) in [
        ("", Class::Unimplemented),
        ("/data", Class::Unimplemented),
        ("name:/data", Class::Unimplemented),
        (":/data", Class::InvalidArgument),
        ("./a:/data", Class::InvalidArgument),
        ("/a:data", Class::InvalidArgument),
        ("/a:/", Class::InvalidArgument),
        ("/a:/.//", Class::InvalidArgument),
        ("/a/../b:/c", Class::InvalidArgument),
        ("/a:/b/../../c", Class::InvalidArgument),
        ("/a:/b:ro:rw", Class::InvalidArgument),
        ("/a:/b:suid", Class::InvalidArgument),
        ("/a\0:/b", Class::InvalidArgument),
    ] {
        let error = Mount::volume(text).unwrap_err();
        assert_eq!(error.kind(), kind, "{text:?}");
        assert!(error.message().starts_with("--volume "), "{error}");
    }
}

#[test]
fn memory() {
    for (text, expected) in [
        ("/t", "tmpfs tmpfs /t nosuid,nodev,noexec,rw"),
        ("/t:exec,ro,nosuid", "tmpfs tmpfs /t nosuid,nodev,exec,ro"),
        ("/t:size=64m,mode=1777", "tmpfs tmpfs /t nosuid,nodev,noexec,rw,size=67108864,mode=1777"),
    ] {
        assert_eq!(shown(&Mount::tmpfs(text).unwrap()), expected, "{text}");
    }
    for text in
        ["", "t", "/", "/t:suid", "/t:size=", "/t:mode=8", "/t:mode=17777", "/t:mode=+7", "/t:ro=1"]
    {
        assert_eq!(Mount::tmpfs(text).unwrap_err().kind(), Class::InvalidArgument, "{text}");
    }
}

#[test]
fn by_keys() {
    for (text, expected) in [
        ("type=bind,src=/a,dst=/b", "bind /a /b rbind,rprivate,rw"),
        ("type=bind,source=/a,target=/b,readonly", "bind /a /b rbind,rprivate,ro"),
        ("destination=/b,type=bind,src=/a:c,ro=true", "bind /a:c /b rbind,rprivate,ro"),
        ("type=bind,src=/a,dst=/b,ro=false", "bind /a /b rbind,rprivate,rw"),
        ("type=bind,src=/a,dst=/b,rw=0", "bind /a /b rbind,rprivate,ro"),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=rshared,bind-nonrecursive",
            "bind /a /b bind,rshared,rw",
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1k,tmpfs-mode=700",
            "tmpfs tmpfs /t nosuid,nodev,noexec,rw,size=1024,mode=700",
        ),
    ] {
        assert_eq!(shown(&Mount::parse(text).unwrap()), expected, "{text}");
    }
    for (text, kind) in [
        ("", Class::InvalidArgument),
        ("src=/a,dst=/b", Class::Unimplemented),
        ("type=volume,src=a,dst=/b", Class::Unimplemented),
        ("type=overlay,src=/a,dst=/b", Class::InvalidArgument),
        ("type=bind,dst=/b", Class::InvalidArgument),
        ("type=bind,src=/a", Class::InvalidArgument),
        ("type=bind,src,dst=/b", Class::InvalidArgument),
        ("type=bind,src=/a,src=/c,dst=/b", Class::InvalidArgument),
        ("type=bind,src=/a,dst=/b,target=/c", Class::InvalidArgument),
        ("type=bind,src=/a,dst=/b,ro,rw", Class::InvalidArgument),
        ("type=bind,src=/a,dst=/b,ro=maybe", Class::InvalidArgument),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1k", Class::InvalidArgument),
        ("type=tmpfs,src=/a,dst=/b", Class::InvalidArgument),
        ("type=tmpfs,dst=/b,bind-propagation=shared", Class::InvalidArgument),
        ("type=bind,src=/a,dst=/b,uid=0", Class::InvalidArgument),
    ] {
        let error = Mount::parse(text).unwrap_err();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(error.message().starts_with("--mount "), "{error}");
    }
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zA-Z0-9:= ä_-][a-zA-Z0-9.:= ä_-]{0,8}", 1..4)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

fn any_mount() -> impl Strategy<Value = Mount> {
    let propagation = prop::sample::select(Propagation::ALL.to_vec());
    let bind = (any_path(), any::<bool>(), propagation)
        .prop_map(|(source, recursive, propagation)| Kind::Bind { source, recursive, propagation });
    let size = prop::option::of(1..=u64::MAX / 2);
    let tmpfs = (size, prop::option::of(0..=0o7777_u32), any::<bool>())
        .prop_map(|(size, mode, exec)| Kind::Tmpfs { size, mode, exec });
    (any_path(), prop_oneof![bind, tmpfs], any::<bool>())
        .prop_map(|(destination, kind, read_only)| Mount { destination, kind, read_only })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(mount in any_mount()) {
        prop_assert_eq!(Mount::parse(&mount.to_string()).unwrap(), mount);
    }

    #[test]
    fn no_text_does_harm(text in "(type=(bind|tmpfs),)?[a-z/.=,:\\PC]{0,40}") {
        for read in [Mount::parse, Mount::volume, Mount::tmpfs] {
            if let Ok(mount) = read(&text) {
                let place = mount.destination();
                prop_assert!(place.starts_with('/') && place.len() > 1);
                prop_assert!(!place.split('/').any(|part| part == ".."));
            }
        }
    }
}
