//! What is typed: the commands of `ctr` that a daemon answers, in an order that makes sense.
//!
//! A step is a line for the shell. `ctr` there speaks to the daemon under test; `$IMAGE`, `$REGISTRY`,
//! `$BUSYBOX` (another image), `$NS` (a namespace), `$MANIFEST`, `$LAYER`, `$CHAIN` (the image's snapshot), `$BASE` (the one below) and `$DIR` (a folder
//! for files) are set. Progress is not compared, so steps that show it throw it away.
//! What has to fail begins with `!`: every step works, as the shell sees it.

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The command of `ctr` it is about: the row of the table.
    pub(crate) command: &'static str,
    pub(crate) line: &'static str,
    /// It needs `ctr` 2.x.
    pub(crate) new: bool,
}

/// A step for every `ctr`.
const fn any(command: &'static str, line: &'static str) -> Step {
    Step { command, line, new: false }
}

/// A step for `ctr` 2.x.
const fn new(command: &'static str, line: &'static str) -> Step {
    Step { command, line, new: true }
}

/// Layers to the byte.
pub(crate) const DIFF_PLAIN: &str = "ctr snapshots diff --media-type \
    application/vnd.oci.image.layer.v1.tar filled >$DIR/filled.tar \
    && tar -tvf $DIR/filled.tar --full-time --utc && sha256sum <$DIR/filled.tar";
pub(crate) const DIFF_PACKED: &str = "ctr snapshots diff filled | gzip -d | sha256sum";
pub(crate) const DIFF_PAIRS: &str = "for one in \"$BASE\" \"$BASE $CHAIN\" \"$CHAIN $BASE\" \
    \"$BASE filled\" \"filled $BASE\"; do \
    ctr snapshots diff --media-type application/vnd.oci.image.layer.v1.tar $one | sha256sum; done";

pub(crate) const STEPS: &[Step] = &[
    // Namespaces.
    any("namespaces create", "ctr namespaces create one colour=red"),
    any("namespaces create", "! ctr namespaces create one"),
    any("namespaces create", "! ctr namespaces create 'no good'"),
    any("namespaces list", "ctr namespaces list"),
    any("namespaces label", "ctr namespaces label one colour=blue && ctr namespaces list"),
    any("namespaces label", "ctr namespaces label one colour= && ctr namespaces list"),
    any("namespaces remove", "ctr -n one leases create --id l && ctr namespaces remove one"),
    any("namespaces remove", "ctr namespaces remove absent"),
    any("namespaces list", "ctr namespaces list -q"),
    // Images.
    any("images pull", "ctr images pull --plain-http $IMAGE >$DIR/out"),
    any("images pull", "ctr images pull --plain-http $IMAGE >$DIR/out"),
    any("images pull", "! ctr images pull --plain-http $REGISTRY/library/absent:1 >$DIR/out"),
    new("images pull", "ctr -n local images pull --local --plain-http $IMAGE >$DIR/out"),
    new("images pull", "ctr -n local images list; ctr -n local snapshots list | sort"),
    any("images list", "ctr images list"),
    any("images list", "ctr images list -q"),
    any("images list", "ctr images list name==absent"),
    any("images list", "! ctr images list name=="),
    any("images check", "ctr images check"),
    any("images check", "ctr images check -q"),
    new("images inspect", "ctr images inspect $IMAGE"),
    new("images inspect", "ctr images inspect --content $IMAGE | sort"),
    new("images usage", "ctr images usage $IMAGE"),
    any("images tag", "ctr images tag $IMAGE registry.test/tagged:1"),
    any("images tag", "ctr images tag --force $IMAGE registry.test/tagged:1"),
    new("images tag", "! ctr images tag --local $IMAGE registry.test/tagged:1"),
    new("images tag", "ctr images tag --local $IMAGE registry.test/local:1"),
    any("images tag", "! ctr images tag registry.test/absent:1 registry.test/other:1"),
    any("images label", "ctr images label registry.test/tagged:1 colour=red owner=me"),
    any("images label", "ctr images label registry.test/tagged:1 colour="),
    any("images label", "! ctr images label registry.test/absent:1 colour=red"),
    any("images list", "ctr images list labels.owner==me"),
    any(
        "images mount",
        "mkdir $DIR/mnt && ctr images mount $IMAGE $DIR/mnt && find $DIR/mnt -printf '%P %m %U:%G %s\n' \
         | grep -v '^ ' | sort && cat $DIR/mnt/var/new",
    ),
    any("images unmount", "ctr images unmount --rm $DIR/mnt && ls $DIR/mnt"),
    any("images mount", "! ctr images mount registry.test/absent:1 $DIR/mnt"),
    // `ctr` 2.x on a busy host may end before it has written all that it got; the last file is this one.
    any(
        "images export",
        "until ctr images export $DIR/export.tar $IMAGE && tar -tf $DIR/export.tar >$DIR/files 2>$DIR/out \
         && grep -q oci-layout $DIR/files; do sleep 0.1; done; grep blobs $DIR/files | sort",
    ),
    any("images export", "! ctr images export $DIR/absent.tar registry.test/absent:1"),
    any(
        "images import",
        "ctr -n imported images import $DIR/export.tar >$DIR/out; ctr -n imported images list",
    ),
    any("images push", "ctr images push --plain-http $REGISTRY/pushed:1 $IMAGE >$DIR/out"),
    any(
        "images push",
        "! ctr images push --plain-http $REGISTRY/pushed:1 registry.test/absent:1 >$DIR/out",
    ),
    any("images convert", "ctr images convert --uncompress --oci $IMAGE registry.test/converted:1"),
    any("images list", "ctr images list | sort"),
    // Content.
    any("content list", "ctr content list | sort"),
    any("content list", "ctr content list -q | sort"),
    any("content list", "ctr content list digest==$LAYER"),
    any("content get", "ctr content get $MANIFEST"),
    any("content get", "! ctr content get sha256:$(printf '%064d' 0)"),
    any("content get", "! ctr content get sha256:short"),
    any("content ingest", "printf four | ctr content ingest four && ctr content list -q size==4"),
    any("content ingest", "! printf four | ctr content ingest --expected-size 5 five"),
    any("content active", "ctr content active"),
    any("content label", "ctr content label $LAYER colour=red"),
    any("content label", "ctr content label $LAYER colour="),
    any("content label", "! ctr content label sha256:$(printf '%064d' 0) colour=red"),
    any("content edit", "ctr content edit --editor 'echo >>' $MANIFEST"),
    any("content fetch", "ctr -n fetched content fetch --plain-http $IMAGE >$DIR/out"),
    any("content fetch", "ctr -n fetched content list | sort; ctr -n fetched snapshots list"),
    any("content fetch-object", "ctr content fetch-object --plain-http $IMAGE $MANIFEST"),
    new("content fetch-blob", "ctr content fetch-blob --plain-http $IMAGE $LAYER | sha256sum"),
    any(
        "content push-object",
        "ctr content push-object --plain-http $REGISTRY/library/other:1 $LAYER",
    ),
    // It goes through labels in no order, and begins each line with the time.
    new(
        "content prune references",
        "ctr -n local content prune references --dry 2>&1 | cut -d ' ' -f 2- | grep -v warning | sort",
    ),
    any(
        "content delete",
        "ctr -n fetched content delete $LAYER && ctr -n fetched content list -q | sort",
    ),
    any("content delete", "ctr content delete sha256:$(printf '%064d' 0)"),
    // Snapshots.
    any("snapshots list", "ctr snapshots list | sort"),
    any("snapshots info", "ctr snapshots info $CHAIN"),
    any("snapshots info", "! ctr snapshots info absent"),
    any("snapshots prepare", "ctr snapshots prepare active $CHAIN"),
    any("snapshots prepare", "! ctr snapshots prepare active $CHAIN"),
    any("snapshots prepare", "! ctr snapshots prepare other absent"),
    any("snapshots prepare", "ctr snapshots prepare --target $DIR/mnt shown $CHAIN"),
    // Nothing keeps a view from the collector, so one that is due goes first.
    any(
        "snapshots view",
        "ctr leases create --id due && ctr leases delete --sync due && ctr snapshots view viewed $CHAIN \
         && ctr snapshots label viewed containerd.io/gc.root=now",
    ),
    any(
        "snapshots view",
        "ctr snapshots view --target $DIR/mnt lowest $BASE && ctr snapshots label lowest containerd.io/gc.root=now",
    ),
    any("snapshots mounts", "ctr snapshots mounts $DIR/mnt active"),
    any("snapshots mounts", "ctr snapshots mounts $DIR/mnt viewed"),
    any("snapshots mounts", "ctr snapshots mounts $DIR/mnt lowest"),
    any("snapshots mounts", "! ctr snapshots mounts $DIR/mnt $CHAIN"),
    any(
        "snapshots mounts",
        "ctr snapshots mounts $DIR/mnt active | sh && echo text >$DIR/mnt/made && umount $DIR/mnt",
    ),
    any("snapshots diff", "ctr snapshots diff active | gzip -d | tar -tf -"),
    // Made of everything that a layer can hold, and read to the byte.
    any(
        "snapshots diff",
        "ctr snapshots prepare filled $CHAIN && ctr snapshots mounts $DIR/mnt filled | sh && cd $DIR/mnt \
         && mkdir -p d/e && echo 1 >d/one && ln d/one d/e/two && ln d/one aaa && ln -s to/nowhere link \
         && ln link link2 && mkfifo pipe && mknod null c 1 3 && rm -r var && mkdir var && echo 2 >var/old \
         && chmod 4751 d/e/two && chown 1234:3000000 var/old && truncate -s 70000 sparse && rm etc/group \
         && ln etc/passwd zzz && long=$(printf '%0200d' 0) && mkdir $long && echo 3 >$long/$long \
         && echo 4 >\"$(printf 'new\\nline')\" && echo 5 >\"$(printf '\\377\\303\\274')\" \
         && find . -print0 | xargs -0 touch -h -d @1234567890.75 && touch -h -d @-5 pipe \
         && touch -d '2300-01-01 UTC' null && cd / && umount $DIR/mnt",
    ),
    any("snapshots diff", DIFF_PLAIN),
    any("snapshots diff", DIFF_PACKED),
    new(
        "snapshots diff",
        "SOURCE_DATE_EPOCH=1111111111 ctr snapshots diff \
         --media-type application/vnd.oci.image.layer.v1.tar filled | sha256sum",
    ),
    // The lower tree with nothing below it, the whole of both, and the other way round.
    any("snapshots diff", DIFF_PAIRS),
    // The same layer, were it there from the steps before, would keep the labels that it has.
    any(
        "snapshots diff",
        "ctr leases create --id due && ctr leases delete --sync due \
         && ctr snapshots diff --keep --ref kept --label colour=red filled >$DIR/out \
         && ctr content ls | grep colour=red | grep -oE 'containerd.io/[a-z.]+' | sort; ctr content active",
    ),
    any("snapshots diff", "! ctr snapshots diff --media-type text/plain filled"),
    any("snapshots delete", "ctr snapshots delete filled"),
    any("snapshots diff", "ctr snapshots diff $BASE $CHAIN | gzip -d | tar -tf - | sort"),
    any("snapshots diff", "! ctr snapshots diff absent"),
    any(
        "snapshots commit",
        "ctr snapshots commit committed active && ctr snapshots info committed",
    ),
    any("snapshots commit", "! ctr snapshots commit again active"),
    any("snapshots commit", "! ctr snapshots commit committed shown"),
    any("snapshots tree", "ctr snapshots tree"),
    any("snapshots usage", "ctr snapshots usage -b $CHAIN"),
    any("snapshots usage", "ctr snapshots usage | sort"),
    any(
        "snapshots label",
        "ctr snapshots label committed colour=red && ctr snapshots info committed",
    ),
    any("snapshots label", "! ctr snapshots label absent colour=red"),
    any("snapshots delete", "! ctr snapshots delete $BASE"),
    any(
        "snapshots delete",
        "ctr snapshots delete shown viewed lowest committed && ctr snapshots list | sort",
    ),
    any("snapshots delete", "! ctr snapshots delete absent"),
    any("snapshots unpack", "ctr snapshots --snapshotter native unpack $MANIFEST >$DIR/out"),
    any("snapshots list", "ctr snapshots --snapshotter native list | sort"),
    any("snapshots list", "! ctr snapshots --snapshotter absent list"),
    // Containers: records only.
    any("containers create", "ctr containers create --label colour=red $IMAGE first"),
    any("containers create", "! ctr containers create $IMAGE first"),
    any("containers create", "! ctr containers create registry.test/absent:1 second"),
    any("containers list", "ctr containers list"),
    any("containers list", "ctr containers list -q"),
    any("containers info", "ctr containers info first"),
    any("containers info", "! ctr containers info absent"),
    any("containers label", "ctr containers label first colour=blue"),
    any("containers label", "! ctr containers label absent colour=blue"),
    any("tasks list", "ctr tasks list"),
    any(
        "containers delete",
        "ctr containers delete first && ctr containers list && ctr snapshots list | sort",
    ),
    any("containers delete", "! ctr containers delete absent"),
    // Containers that run, in a namespace that no other daemon of this host has. Those that say something
    // go on for a moment: `ctr` on a busy host loses what a process says that ends before it has opened
    // its streams.
    any("images pull", "ctr -n $NS images pull --plain-http $BUSYBOX >$DIR/out"),
    any(
        "run",
        "ctr -n $NS run --rm $BUSYBOX one sh -c 'echo out; echo err >&2; sleep 1; exit 3'; echo $?",
    ),
    any(
        "run",
        "ctr -n $NS run --rm --env A=b --read-only --cwd /etc --memory-limit 67108864 $BUSYBOX one \
         sh -c 'echo $A; pwd; id -u; touch /x; cat passwd; sleep 1'; echo $?",
    ),
    any("run", "! ctr -n $NS run --rm $BUSYBOX one /absent"),
    // containerd gives this error no class.
    any("run", "! ctr -n $NS run --rm --runtime io.absent.v1 $BUSYBOX one true 2>$DIR/out"),
    any("run", "! ctr -n $NS run --rm registry.test/absent:1 one true"),
    any("run", "! ctr -n $NS run --rm --snapshotter absent $BUSYBOX one true"),
    // What did not come to run has left nothing.
    any("containers list", "ctr -n $NS containers list -q; ctr -n $NS tasks list -q"),
    any(
        "run",
        "script -qec '\"$CTR\" --address $ADDRESS -n $NS run -d -t --snapshotter native $BUSYBOX two sleep 1000' \
         $DIR/out >$DIR/shown",
    ),
    any("run", "! ctr -n $NS run -d $BUSYBOX two sleep 1000"),
    any(
        "run",
        "ctr -n $NS run -d $BUSYBOX three sh -c 'while :; do echo tick; sleep 0.2; done' >$DIR/out",
    ),
    any("containers list", "ctr -n $NS containers list -q"),
    any("containers info", "ctr -n $NS containers info two | grep -E 'Snapshot|\"Name\"|Image'"),
    any("tasks list", "ctr -n $NS tasks list | sed -E 's/[0-9]+/PID/' | sort"),
    any("tasks ps", "ctr -n $NS tasks ps two | sed -E 's/[0-9]+/PID/'"),
    any("tasks ps", "! ctr -n $NS tasks ps absent"),
    any(
        "tasks exec",
        "ctr -n $NS tasks exec --exec-id e two sh -c 'echo in; sleep 1; exit 4'; echo $?",
    ),
    any("tasks exec", "! ctr -n $NS tasks exec --exec-id e two /absent"),
    any("tasks exec", "! ctr -n $NS tasks exec --exec-id e absent true"),
    any(
        "tasks pause",
        "ctr -n $NS tasks pause two && ctr -n $NS tasks list | grep -o 'two.*PAUSED' | tr -d '0-9'",
    ),
    any(
        "tasks resume",
        "ctr -n $NS tasks resume two && ctr -n $NS tasks list | grep -o 'two.*RUNNING' | tr -d '0-9'",
    ),
    any("tasks pause", "! ctr -n $NS tasks pause absent"),
    any("tasks resume", "! ctr -n $NS tasks resume absent"),
    any("tasks metrics", "ctr -n $NS tasks metrics two | cut -d ' ' -f 1 | sort"),
    any("tasks metrics", "! ctr -n $NS tasks metrics absent"),
    // Other signals than that one it would send on.
    any(
        "tasks attach",
        ": >$DIR/ticks; \"$CTR\" --address $ADDRESS -n $NS tasks attach three >>$DIR/ticks & attached=$!; \
         until grep -q tick $DIR/ticks; do sleep 0.1; done; kill -KILL $attached; head -n 1 $DIR/ticks",
    ),
    any("tasks attach", "! ctr -n $NS tasks attach absent"),
    any("containers delete", "! ctr -n $NS containers delete two"),
    any("tasks delete", "! ctr -n $NS tasks delete two"),
    any("tasks kill", "ctr -n $NS tasks kill -s KILL two; ctr -n $NS tasks kill -a -s KILL three"),
    any(
        "tasks list",
        "until [ $(ctr -n $NS tasks list | grep -c STOPPED) = 2 ]; do sleep 0.1; done",
    ),
    any("tasks kill", "! ctr -n $NS tasks kill absent"),
    any(
        "tasks delete",
        "ctr -n $NS tasks delete two; echo $?; ctr -n $NS tasks delete three; echo $?",
    ),
    any("tasks delete", "! ctr -n $NS tasks delete two"),
    any(
        "containers delete",
        "ctr -n $NS containers delete two three && ctr -n $NS containers list -q",
    ),
    any("containers create", "ctr -n $NS containers create $BUSYBOX four sleep 1000"),
    any("tasks start", "ctr -n $NS tasks start -d four && ctr -n $NS tasks list -q"),
    any("tasks start", "! ctr -n $NS tasks start -d four"),
    any("tasks start", "! ctr -n $NS tasks start -d absent"),
    any("tasks delete", "ctr -n $NS tasks delete -f four; echo $?"),
    // What a refused run has prepared goes when collected.
    any(
        "containers delete",
        "ctr -n $NS containers delete four; ctr -n $NS leases create --id due \
         && ctr -n $NS leases delete --sync due; ctr -n $NS snapshots list | grep Active; true",
    ),
    // A shim may have ended before it has told of the deletion.
    any(
        "events",
        ": >$DIR/told; \"$CTR\" --address $ADDRESS events >>$DIR/told & listener=$!; \
         until grep -q /namespaces/ $DIR/told; do ctr namespaces label $NS told=yes; sleep 0.1; done; \
         ctr -n $NS run --rm $BUSYBOX five true; \
         until grep -q /containers/delete $DIR/told && grep -q /tasks/exit $DIR/told; do sleep 0.1; done; \
         kill $listener; grep -oE '/(tasks|containers)/[a-z-]+' $DIR/told | grep -v tasks/delete | sort",
    ),
    new("plugins inspect-runtime", "ctr plugins inspect-runtime"),
    // Leases.
    any("leases create", "ctr leases create --id held colour=red"),
    any("leases create", "! ctr leases create --id held"),
    any("leases create", "ctr leases create | wc -l"),
    any("leases list", "ctr leases list id==held"),
    any("leases list", "ctr leases list -q id==held"),
    any("leases delete", "ctr leases delete --sync held && ctr leases list -q id==held"),
    any("leases delete", "! ctr leases delete absent"),
    // The daemon.
    any(
        "events",
        ": >$DIR/events; \"$CTR\" --address $ADDRESS events topic~=^/snapshot/ >>$DIR/events & listener=$!; \
         until grep -q early $DIR/events; do ctr snapshots prepare early; ctr snapshots delete early; sleep 0.1; done; \
         ctr snapshots prepare told; ctr snapshots delete told; \
         until grep -q remove.*told $DIR/events; do sleep 0.1; done; kill $listener; \
         grep told $DIR/events | cut -d ' ' -f 5-",
    ),
    any("plugins list", "ctr plugins list | grep -E 'snapshotter.v1 +(overlayfs|native) '"),
    any("plugins list", "ctr plugins list id==overlayfs"),
    any("plugins list", "ctr plugins list -d id==overlayfs,type==io.containerd.snapshotter.v1"),
    any(
        "version",
        "ctr version 2>$DIR/out | sed 's/\\(Version\\|Revision\\|Go version\\): .*/\\1/'",
    ),
    // Deprecations are of the host too: containerd warns of its cgroups.
    new("info", "ctr info | grep -oE '\"(server|uuid|pid|pidns)\":'"),
    new("deprecations list", "ctr deprecations list >$DIR/out"),
    // What takes things away is last.
    any("images delete", "ctr images delete --sync registry.test/tagged:1 registry.test/absent:1"),
    new("images prune", "ctr -n local images prune --all; ctr -n local images list -q"),
    any("images delete", "ctr images delete --sync $IMAGE; ctr images list -q"),
];
