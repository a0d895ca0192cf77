import { describe } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { TemporaryFolder } from "./temp.ts";
import { unpackedCommand } from "./unpacked.ts";
import { eventually } from "./wait.ts";

const CONTAINERD = unpackedCommand("containerd", "containerd");
const CTR = unpackedCommand("ctr", "containerd");
const RUNC = unpackedCommand("runc", "runc");
const CGROUPS = "/sys/fs/cgroup";

/** What the tests need to run containers and do not find, and how to get it. */
function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  const missing = Object.entries({ containerd: CONTAINERD, ctr: CTR, runc: RUNC }).find(
    ([, path]) => path === undefined,
  );
  return missing && `needs the command ${missing[0]}; get it with: node scripts/setup.mjs cluster`;
}

/** `describe` for tests that run containers. Where that can't be, it skips them and says why in one line. */
export function describeWithContainerd(name: string, tests: () => void): void {
  const missing = whyNot();
  if (missing !== undefined) console.error(`skipped: ${name}: ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}

const living = new Set<Containerd>();
let hooked = false;

function killOnExit(): void {
  if (hooked) return;
  hooked = true;
  process.on("exit", () => {
    for (const one of living) {
      one.kill();
      one.release();
    }
  });
}

/** A containerd with folders of its own, and a namespace for this process's containers. */
export class Containerd implements AsyncDisposable {
  static #count = 0;

  readonly #folder = new TemporaryFolder();
  readonly #namespace = `tartan-test-${process.pid}-${Containerd.#count++}`;
  #child: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;
  #log = "";

  /** Starts it and waits until it answers. @throws Error with its log */
  static async start(): Promise<Containerd> {
    killOnExit();
    const containerd = new Containerd();
    living.add(containerd);
    await containerd.#spawn();
    return containerd;
  }

  async #spawn(): Promise<void> {
    const config = this.#folder.at("config.toml");
    await Bun.write(
      config,
      [
        "version = 2",
        `root = "${this.#folder.at("root")}"`,
        `state = "${this.#state}"`,
        // Kubernetes' interface is not used here, and it wants a CNI configuration of the machine.
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]',
        "[grpc]",
        `  address = "${this.#socket}"`,
      ].join("\n"),
    );
    const child = Bun.spawn([CONTAINERD ?? "containerd", "--config", config], {
      env: this.#environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    void this.#collect(child.stderr);
    await eventually(async () => (await this.ctr("version")).includes("Server"), {
      within: 60_000,
      what: "containerd answers",
    }).catch((cause: unknown) => {
      throw new Error(`containerd's log:\n${this.#log}`, { cause });
    });
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#log += decoder.decode(chunk, { stream: true });
  }

  get #state(): string {
    return this.#folder.at("state");
  }

  get #socket(): string {
    return this.#folder.at("containerd.sock");
  }

  /** Its shim and runc are looked for on the PATH. */
  get #environment(): Record<string, string> {
    const folders = [CONTAINERD, RUNC].flatMap((path) => (path === undefined ? [] : [dirname(path)]));
    return { PATH: [...folders, process.env["PATH"] ?? ""].join(":") };
  }

  /** `ctr` with these arguments; its process ends with the container's if it is `ctr run`. */
  spawnCtr(...args: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
    return Bun.spawn(this.#ctrCommand(...args), { env: this.#environment, stdio: ["ignore", "pipe", "pipe"] });
  }

  #ctrCommand(...args: readonly string[]): string[] {
    return [CTR ?? "ctr", `--address=${this.#socket}`, `--namespace=${this.#namespace}`, ...args];
  }

  /** Runs `ctr` to its end. @returns what it wrote to stdout @throws Error with its stderr if it fails */
  async ctr(...args: readonly string[]): Promise<string> {
    const child = this.spawnCtr(...args);
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code === 0) return stdout;
    throw new Error(`ctr ${args.join(" ")}: exit code ${code}: ${stderr.trim() || stdout.trim()}`);
  }

  /** Ends the containers, with the processes that hold them, and itself. */
  kill(): void {
    living.delete(this);
    const tasks = join(this.#state, "io.containerd.runtime.v2.task", this.#namespace);
    for (const id of existsSync(tasks) ? readdirSync(tasks) : []) {
      Bun.spawnSync(this.#ctrCommand("tasks", "delete", "--force", id), { env: this.#environment });
    }
    this.#child?.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#child?.exited;
    await eventually(() => this.release(), { within: 10_000, what: "the mounts and cgroups of containers are gone" });
    this.#folder[Symbol.dispose]();
  }

  /** Containers that are killed leave their root file systems mounted, and this namespace its cgroups. */
  release(): boolean {
    for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n")) {
      const target = line.split(" ")[1] ?? "";
      if (target.startsWith(`${this.#folder.path}/`)) Bun.spawnSync(["umount", "-l", target]);
    }
    for (const hierarchy of [CGROUPS, ...readdirSync(CGROUPS).map((name) => join(CGROUPS, name))]) {
      removeCgroups(join(hierarchy, this.#namespace));
    }
    return true;
  }
}

/** A cgroup and those in it; their files go with them. */
function removeCgroups(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroups(join(path, entry.name));
  }
  rmdirSync(path);
}
