// What each npm script needs of the system, by the names of Debian 12's packages.
import { existsSync } from "node:fs";
import { join } from "node:path";

const TRIPLETS = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };
const LIBRARY_FOLDERS = [
  ...["/usr/lib", "/lib"].map((folder) => join(folder, TRIPLETS[process.arch] ?? "")),
  ...["/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/local/lib"],
];
// A user's PATH on Debian lacks the sbin folders, where ip and iptables are.
const COMMAND_FOLDERS = [...(process.env.PATH ?? "").split(":").filter(Boolean), "/usr/sbin", "/sbin"];

/** @returns whether one of the folders holds `name` */
const within = (folders, name) => folders.some((folder) => existsSync(join(folder, name)));
const library = (name) => ({ provides: name, isPresent: () => within(LIBRARY_FOLDERS, name) });
const command = (name) => ({ provides: name, isPresent: () => within(COMMAND_FOLDERS, name) });

/** Where the packages are unpacked that would start a service if they were installed. */
export const UNPACKED = join(".cache", "debs");

/** A command on the PATH or, unpacked by an earlier set-up, in `folder` of the checkout's copy. */
const unpackedCommand = (packageName, name, folder = "usr/bin") => ({
  provides: name,
  isPresent: (root) => within([...COMMAND_FOLDERS, join(root, UNPACKED, packageName, folder)], name),
});

/** A part of Go: the system has all of them or none, since those that are unpacked find each other only. */
const goPart = (packageName, provides) => ({
  provides,
  isPresent: (root) => within(["/usr/lib/go-1.19/bin"], "go") || within([join(root, UNPACKED)], packageName),
});

const goLibrary = (packageName, path) => ({
  provides: `the Go library ${path}`,
  isPresent: (root) =>
    ["/", join(root, UNPACKED, packageName)].some((top) => within([join(top, "usr", "share", "gocode", "src")], path)),
});

/** sprig, whose functions Helm's templates call, and what it needs: by package, a path in Go's tree of sources. */
const SPRIG = {
  "golang-github-masterminds-sprig-dev": "github.com/Masterminds/sprig",
  "golang-github-masterminds-semver-dev": "github.com/Masterminds/semver",
  "golang-github-masterminds-goutils-dev": "github.com/Masterminds/goutils",
  "golang-github-huandu-xstrings-dev": "github.com/huandu/xstrings",
  "golang-github-google-uuid-dev": "github.com/google/uuid",
  "golang-github-imdario-mergo-dev": "github.com/imdario/mergo",
  "golang-github-shopspring-decimal-dev": "github.com/shopspring/decimal",
  "golang-github-mitchellh-copystructure-dev": "github.com/mitchellh/copystructure",
  "golang-github-mitchellh-reflectwalk-dev": "github.com/mitchellh/reflectwalk",
  "golang-github-spf13-cast-dev": "github.com/spf13/cast",
  "golang-golang-x-crypto-dev": "golang.org/x/crypto",
  "golang-github-ghodss-yaml-dev": "github.com/ghodss/yaml",
  "golang-gopkg-yaml.v2-dev": "gopkg.in/yaml.v2",
};

/**
 * By package: what of it is used (`provides`), and whether the system has that. The thing itself is looked for, not
 * the package, so that a system with other packages, or none, will do.
 */
export const PACKAGES = {
  "libnl-3-200": library("libnl-3.so.200"),
  "libnl-route-3-200": library("libnl-route-3.so.200"),
  libnftables1: library("libnftables.so.1"),
  iproute2: command("ip"),
  "iputils-ping": command("ping"),
  iptables: command("iptables"),
  nftables: command("nft"),
  curl: command("curl"),
  openssl: command("openssl"),
  "xz-utils": command("xz"),
  // 90 MB, some seconds; Debian's chromium, which is much larger, will do too.
  "chromium-headless-shell": {
    provides: "a headless Chromium",
    isPresent: () => ["chromium-headless-shell", "chromium"].some((name) => within(COMMAND_FOLDERS, name)),
  },
  "containernetworking-plugins": {
    provides: "the CNI plugin bridge",
    isPresent: () => within(["/usr/lib/cni", "/opt/cni/bin"], "bridge"),
  },
  "golang-1.19-go": goPart("golang-1.19-go", "Go 1.19"),
  "golang-1.19-src": goPart("golang-1.19-src", "Go 1.19's library"),
  ...Object.fromEntries(Object.entries(SPRIG).map(([name, path]) => [name, goLibrary(name, path)])),
  patch: unpackedCommand("patch", "patch"),
  "etcd-server": unpackedCommand("etcd-server", "etcd"),
  "etcd-client": unpackedCommand("etcd-client", "etcdctl"),
  "kubernetes-client": unpackedCommand("kubernetes-client", "kubectl"),
  // Of it only promtool is used.
  prometheus: unpackedCommand("prometheus", "promtool"),
  containerd: unpackedCommand("containerd", "containerd"),
  runc: unpackedCommand("runc", "runc", "usr/sbin"),
  conntrack: unpackedCommand("conntrack", "conntrack", "usr/sbin"),
  // The system's own busybox may be one that needs libraries.
  "busybox-static": {
    provides: "busybox without libraries",
    isPresent: (root) => within([join(root, UNPACKED, "busybox-static", "bin")], "busybox"),
  },
  "qemu-user-static": unpackedCommand("qemu-user-static", "qemu-aarch64-static"),
};

const NETLINK = ["libnl-3-200", "libnl-route-3-200", "libnftables1"];
const LAB = [
  ...[...NETLINK, "iproute2", "iputils-ping", "iptables", "containernetworking-plugins"],
  // What --lease etcd and --lease kube need: which it will be is not known here.
  ...["openssl", "xz-utils"],
];
const ETCD = ["etcd-server", "etcd-client"];
const TEST = {
  installed: [...LAB, "nftables", "curl", "chromium-headless-shell"],
  unpacked: [...ETCD, "kubernetes-client", "prometheus"],
};

/** What a node of a real cluster needs beside Kubernetes' own servers: conntrack is kube-proxy's. */
const CLUSTER = ["containerd", "runc", "conntrack", "busybox-static"];
const GO = ["golang-1.19-go", "golang-1.19-src"];

/** What each npm script needs beside node_modules: packages to install, packages to unpack. */
export const PURPOSES = {
  build: { installed: [], unpacked: [] },
  lab: { installed: LAB, unpacked: ETCD },
  test: TEST,
  // `npm run test:cluster`
  cluster: {
    installed: TEST.installed,
    unpacked: [...TEST.unpacked, ...GO, ...Object.keys(SPRIG), "qemu-user-static", ...CLUSTER],
  },
  // `npm run envtest` asks for it once it knows that there is something to build.
  envtest: { installed: ["xz-utils"], unpacked: [...GO, "patch"] },
};
