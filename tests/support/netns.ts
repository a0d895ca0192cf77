import { afterAll } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Where iproute2 keeps its named network namespaces. */
const FOLDER = "/run/netns";
const NAME = /^tt-(\d+)-\d+$/;

export type SpawnOptions = Bun.SpawnOptions.SpawnOptions<
  Bun.SpawnOptions.Writable,
  Bun.SpawnOptions.Readable,
  Bun.SpawnOptions.Readable
>;

/** One end of a veth pair. */
export interface VethEnd {
  readonly ns: Netns;
  readonly name: string;
  /** with their prefix length, as in `192.0.2.1/24` */
  readonly addresses?: readonly string[];
  readonly mac?: string;
}

const living = new Set<Netns>();
let created = 0;
let hooked = false;

/** A network namespace with its loopback up. What was started in it ends with it. */
export class Netns implements Disposable {
  readonly name = `tt-${process.pid}-${created++}`;
  readonly path = join(FOLDER, this.name);

  constructor() {
    removeOnExit();
    runSync(["ip", "netns", "add", this.name]);
    living.add(this);
    runSync(["ip", "-n", this.name, "link", "set", "lo", "up"]);
  }

  /** `command` with the prefix that runs it in this namespace; the mounts stay those of the caller. */
  command(command: readonly string[]): string[] {
    return ["nsenter", `--net=${this.path}`, "--", ...command];
  }

  /** Runs a command to its end. @returns what it wrote to stdout @throws Error with its stderr if it fails */
  async exec(command: readonly string[], input = ""): Promise<string> {
    const child = Bun.spawn(this.command(command), { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code === 0) return stdout;
    throw new Error(`${command.join(" ")} in ${this.name}: exit code ${code}: ${stderr.trim() || stdout.trim()}`);
  }

  /** Starts a command; its process id is that of the command itself. It is killed when the namespace goes. */
  spawn<Options extends SpawnOptions>(command: readonly string[], options?: Options) {
    return Bun.spawn<Options["stdin"], Options["stdout"], Options["stderr"]>(this.command(command), options);
  }

  /** Sets a kernel parameter by its name under net, as in `ipv4.ip_forward`. */
  async sysctl(name: string, value: string | number): Promise<void> {
    await this.exec(["tee", `/proc/sys/net/${name.replaceAll(".", "/")}`], `${value}\n`);
  }

  /** Kills what runs in the namespace and removes it. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (living.delete(this)) remove(this.name);
  }
}

/**
 * A maker of namespaces that are removed after the tests around the call: call it in a test file or a `describe`.
 * In a test, `using ns = new Netns()` does.
 */
export function useNamespaces(): { create(): Netns } {
  const own: Netns[] = [];
  afterAll(() => {
    for (const ns of own.splice(0)) ns[Symbol.dispose]();
  });
  return {
    create() {
      const ns = new Netns();
      own.push(ns);
      return ns;
    },
  };
}

/** Joins two namespaces by a veth pair, both ends up. */
export async function pair(a: VethEnd, b: VethEnd, { mtu }: { mtu?: number } = {}): Promise<void> {
  const settings = (end: VethEnd) => [...(end.mac ? ["address", end.mac] : []), ...(mtu ? ["mtu", `${mtu}`] : [])];
  const peer = ["peer", "name", b.name, "netns", b.ns.name, ...settings(b)];
  await a.ns.exec(["ip", "link", "add", "name", a.name, ...settings(a), "type", "veth", ...peer]);
  for (const { ns, name, addresses = [] } of [a, b]) {
    for (const address of addresses) await addAddress(ns, address, name);
    await ns.exec(["ip", "link", "set", name, "up"]);
  }
}

/** Gives an interface an address, as in `192.0.2.1/24`, that can be used at once. */
export async function addAddress(ns: Netns, address: string, name: string): Promise<void> {
  // Duplicate address detection would keep an IPv6 address from use for a second.
  await ns.exec(["ip", "address", "add", address, "dev", name, ...(address.includes(":") ? ["nodad"] : [])]);
}

export function removeAllNamespaces(): void {
  for (const ns of [...living]) ns[Symbol.dispose]();
}

/** Removes what runs left behind that were killed: their process ids, which the names hold, are free again. */
export function removeNamespacesOfDeadRuns(): void {
  if (!existsSync(FOLDER) || process.getuid?.() !== 0) return;
  for (const name of readdirSync(FOLDER)) {
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      remove(name);
    } catch (error) {
      // Another run that begins at this moment may have been faster.
      if (existsSync(join(FOLDER, name))) throw error;
    }
  }
}

function remove(name: string): void {
  for (const pid of runSync(["ip", "netns", "pids", name]).split("\n").filter(Boolean)) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself meanwhile.
    }
  }
  runSync(["ip", "netns", "delete", name]);
}

function removeOnExit(): void {
  if (hooked) return;
  hooked = true;
  process.on("exit", removeAllNamespaces);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      removeAllNamespaces();
      process.kill(process.pid, signal);
    });
  }
}

function runSync(command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe" });
  if (exitCode === 0) return stdout.toString();
  throw new Error(`${command.join(" ")}: exit code ${exitCode}: ${stderr.toString().trim()}`);
}
