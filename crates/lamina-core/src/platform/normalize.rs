//! Aliases of operating systems and processors, and what the host is.

/// The host's operating system by Go's name.
pub(super) const HOST_OS: &str = match std::env::consts::OS.as_bytes() {
    b"macos" => "darwin",
    _ => std::env::consts::OS,
};

/// The host's processor by Go's name, and its variant.
pub(super) const HOST_ARCHITECTURE: (&str, &str) = {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH.as_bytes() {
        b"x86" => ("386", ""),
        b"x86_64" => ("amd64", ""),
        b"aarch64" => ("arm64", ""),
        b"arm" if cfg!(target_feature = "v7") => ("arm", "v7"),
        b"arm" if cfg!(target_feature = "v6") => ("arm", "v6"),
        b"arm" => ("arm", "v5"),
        b"loongarch64" => ("loong64", ""),
        b"powerpc64" if little => ("ppc64le", ""),
        b"powerpc64" => ("ppc64", ""),
        b"mips" if little => ("mipsle", ""),
        b"mips64" if little => ("mips64le", ""),
        b"riscv32" => ("riscv", ""),
        b"wasm32" => ("wasm", ""),
        // The others (riscv64, s390x, sparc64, …) are called the same.
        _ => (std::env::consts::ARCH, ""),
    }
};

/// Lower case, `macos` is `darwin`, and what says nothing is meant for the host.
pub(super) fn os(os: &str) -> String {
    let os = os.to_lowercase();
    match os.as_str() {
        "" => HOST_OS.to_owned(),
        "macos" => "darwin".to_owned(),
        _ => os,
    }
}

/// Architecture and variant with aliases resolved. The lowest variant of amd64 and arm64 is written
/// as none; arm always has one.
pub(super) fn architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_lowercase();
    let variant = variant.to_lowercase();
    let (architecture, variant): (&str, &str) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// Whether a single word names an operating system (Go's list).
pub(super) fn is_known_os(os: &str) -> bool {
    matches!(
        os,
        "aix"
            | "android"
            | "darwin"
            | "dragonfly"
            | "freebsd"
            | "hurd"
            | "illumos"
            | "ios"
            | "js"
            | "linux"
            | "nacl"
            | "netbsd"
            | "openbsd"
            | "plan9"
            | "solaris"
            | "windows"
            | "zos"
    )
}

/// Whether a single word names a processor (Go's list).
pub(super) fn is_known_architecture(architecture: &str) -> bool {
    matches!(
        architecture,
        "386"
            | "amd64"
            | "amd64p32"
            | "arm"
            | "armbe"
            | "arm64"
            | "arm64be"
            | "ppc64"
            | "ppc64le"
            | "loong64"
            | "mips"
            | "mipsle"
            | "mips64"
            | "mips64le"
            | "mips64p32"
            | "mips64p32le"
            | "ppc"
            | "riscv"
            | "riscv64"
            | "s390"
            | "s390x"
            | "sparc"
            | "sparc64"
            | "wasm"
    )
}
