import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Netns, SpawnOptions } from "../netns.ts";
import { eventually } from "../wait.ts";
import { Cgroups } from "./cgroups.ts";

/** What a machine has for itself: the machine that the tests run on shows through, and nothing of it is changed. */
const OWN_FOLDERS = ["etc", "opt", "var"];

/** What kubelet sets for the whole kernel. It finds them set, in files that stand in for the kernel's. */
const TUNABLES = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

/**
 * Enters its cgroups (`$1` is their name), so that they are the roots of the cgroup namespace. containerd puts what kubelet
 * does not place elsewhere directly under the root.
 */
const ENTER_CGROUPS = `
  set -e
  while read -r _ path type _; do
    case $type in cgroup | cgroup2) echo $$ >"$path/$1/cgroup.procs" ;; esac
  done </proc/self/mounts
  shift
  exec unshare --cgroup --mount "$@"`;

/**
 * In new mount and cgroup namespaces. Mounts below are shared, since kubelet wants to hand them on to containers, but with
 * this machine alone. `$1` is its folder, `$2` the paths that it has for itself; `NAME=VALUE` of tunables follow.
 */
const SET_UP = `
  set -e
  folder=$1 own=$2; shift 2
  mount --make-rprivate /
  for name in $own; do
    mkdir -p "$folder/$name" "$folder/work/$name"
    mount -t overlay -o "lowerdir=/$name,upperdir=$folder/$name,workdir=$folder/work/$name" overlay "/$name"
  done
  while read -r _ path type options _; do
    # What is left of the options names the hierarchy.
    which=$(echo ",$options" | sed -E 's/,(rw|ro|nosuid|nodev|noexec|relatime)\\b//g; s/^,//; s/^(.*,)?name=/none,&/')
    case $type in
      cgroup) umount "$path"; mount -t cgroup -o "$which" cgroup "$path" ;;
      cgroup2)
        umount "$path"; mount -t cgroup2 cgroup2 "$path"
        # With controllers of its own, a cgroup that holds a process can't have others in it.
        mkdir "$path/init"; echo $$ >"$path/init/cgroup.procs" ;;
    esac
  done <<EOF
$(cat /proc/self/mounts)
EOF
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock
  for setting; do
    file=$folder/tunables/\${setting%%=*}
    mkdir -p "\${file%/*}"
    echo "\${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/\${setting%%=*}"
  done
  mount --make-rshared /
  touch "$folder/up"
  exec sleep infinity`;

const living = new Set<Machine>();
let hooked = false;

/** Registered before the hook of namespaces, which ends this process. */
export function removeMachinesOnExit(): void {
  if (hooked) return;
  hooked = true;
  const removeAll = () => {
    for (const machine of [...living]) machine[Symbol.dispose]();
  };
  process.on("exit", removeAll);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.prependOnceListener(signal, removeAll);
}

/** A machine in a namespace: with a mount namespace, /etc, /opt, /run, /var and cgroups of its own. */
export class Machine implements Disposable {
  readonly folder: string;
  readonly #ns: Netns;
  readonly #cgroups: Cgroups;
  /** holds the mount namespace */
  readonly #holder: Bun.Subprocess;

  private constructor(ns: Netns, folder: string) {
    removeMachinesOnExit();
    living.add(this);
    this.folder = folder;
    this.#ns = ns;
    this.#cgroups = new Cgroups(ns.name);
    mkdirSync(folder, { recursive: true });
    const tunables = Object.entries(TUNABLES).filter(([name]) => existsSync(join("/proc/sys", name)));
    const settings = tunables.map(([name, value]) => `${name}=${value}`);
    this.#holder = ns.spawn(
      [
        ...["sh", "-c", ENTER_CGROUPS, "sh", ns.name],
        ...["sh", "-c", SET_UP, "sh", folder, OWN_FOLDERS.join(" "), ...settings],
      ],
      { stdin: "ignore", stdout: "ignore", stderr: Bun.file(join(folder, "set-up.log")) },
    );
  }

  /**
   * @param ns which ends with the machine
   * @param folder for its files, new, on a file system that overlayfs can write to
   * @throws Error with what the set-up said
   */
  static async start(ns: Netns, folder: string): Promise<Machine> {
    const machine = new Machine(ns, folder);
    await eventually(() => existsSync(join(folder, "up")) || machine.#holder.exitCode !== null, {
      within: 30_000,
      what: "the machine has its mounts",
    });
    if (machine.#holder.exitCode === null) return machine;
    machine[Symbol.dispose]();
    throw new Error(`no mount namespace: ${await Bun.file(join(folder, "set-up.log")).text()}`);
  }

  /** Where a file of /etc, /opt or /var of this machine is seen from here, if the machine wrote it. */
  at(path: string): string {
    return join(this.folder, path);
  }

  command(command: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#holder.pid}`, "--net", "--mount", "--cgroup", "--", ...command];
  }

  spawn<Options extends SpawnOptions>(command: readonly string[], options?: Options) {
    return Bun.spawn<Options["stdin"], Options["stdout"], Options["stderr"]>(this.command(command), options);
  }

  /** Runs a command to its end. @returns what it wrote to stdout @throws Error with its stderr if it fails */
  async exec(command: readonly string[], options: { env?: Record<string, string> } = {}): Promise<string> {
    const child = this.spawn(command, { ...options, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code === 0) return stdout;
    throw new Error(`${command.join(" ")}: exit code ${code}: ${stderr.trim() || stdout.trim()}`);
  }

  /** Kills what runs in its namespaces and cgroups, and removes them and its files. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (!living.delete(this)) return;
    this.#ns[Symbol.dispose]();
    this.#cgroups.remove();
    // What was killed may still write its last.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}
