import { mkdirSync } from "node:fs";
import type { Netns } from "./netns.ts";
import type { TemporaryFolder } from "./temp.ts";

/** What a pod's container is started with, so far as it matters here. */
export interface ContainerSpec {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** what it may do, as in `net_admin`; everything else is taken from it */
  readonly capabilities: readonly string[];
  /** folders and files of the host by the paths that they have in the container */
  readonly mounts: Readonly<Record<string, string>>;
}

/**
 * Starts a container of a pod on a node's own network without a container runtime: in a mount namespace with a root of its
 * own that can't be written to, as root with these capabilities alone, which nothing can add to.
 * @param folder for the root; it stays empty here
 */
export function startContainer(
  ns: Netns,
  folder: TemporaryFolder,
  { command, env, capabilities, mounts }: ContainerSpec,
) {
  const root = folder.at("root");
  mkdirSync(root, { recursive: true });
  const script = `
    set -e
    root=$1; shift
    mount -t tmpfs tmpfs "$root"
    mkdir -p "$root/usr" "$root/proc" "$root/dev" "$root/sys" "$root/tmp"
    for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
    for name in usr proc dev sys; do mount --rbind "/$name" "$root/$name"; done
    while [ "$1" != -- ]; do
      if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; touch "$root$2"; fi
      mount --bind "$1" "$root$2"; shift 2
    done
    shift
    mount -o remount,ro,bind "$root/usr"
    mount -o remount,ro "$root"
    exec chroot "$root" "$@"`;
  const bounding = ["-all", ...capabilities.map((name) => `+${name}`)].join(",");
  const limits = [`--bounding-set=${bounding}`, "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"];
  const pairs = Object.entries(mounts).flatMap(([inside, outside]) => [outside, inside]);
  return ns.spawn(
    [
      ...["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", root, ...pairs, "--"],
      ...["/usr/bin/setpriv", ...limits, "--", ...command],
    ],
    { stdin: "ignore", stdout: "ignore", stderr: "pipe", env: { PATH: "/usr/sbin:/usr/bin", ...env } },
  );
}
