import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { sleep } from "../../../src/base/backoff.ts";
import { executable } from "../../support/executable.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { TemporaryFolder } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import { GLIBC, HostRoot, oldLibc } from "./host-root.ts";

const OLD = "#!/bin/sh\n# the plugin of before\n";

/** A folder of plugins with an older `flannel` among them. */
class PluginFolder extends TemporaryFolder {
  readonly plugin = this.at("flannel");

  constructor() {
    super();
    writeFileSync(this.plugin, OLD, { mode: 0o755 });
    writeFileSync(this.at("bridge"), "another plugin");
  }

  get names(): string[] {
    return readdirSync(this.path).sort();
  }

  /** Which plugin is there as a whole. */
  get holds(): "old" | "new" {
    const { size } = statSync(this.plugin);
    if (size === OLD.length && readFileSync(this.plugin, "utf8") === OLD) return "old";
    if (readFileSync(this.plugin).equals(readFileSync(executable()))) return "new";
    throw new Error(`${this.plugin} of ${size} bytes is neither the old plugin nor the new one`);
  }
}

function start(args: readonly string[], before: readonly string[] = []) {
  return Bun.spawn([...before, executable(), "install-cni", ...args], {
    env: { PATH: process.env["PATH"] ?? "" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function ended(child: ReturnType<typeof start>) {
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

const run = (args: readonly string[], before?: readonly string[]) => ended(start(args, before));
const into = ({ path }: TemporaryFolder) => `--cni-bin-dir=${path}`;

describe("tartan install-cni", () => {
  test("puts the executable into the folder; again it writes nothing", async () => {
    using folder = new PluginFolder();
    const first = await run([into(folder)]);
    expect(first).toMatchObject({
      code: 0,
      stderr: "",
      stdout: expect.stringContaining("flannel is installed: version"),
    });
    expect(folder.names).toEqual(["bridge", "flannel"]);
    expect(folder.holds).toBe("new");
    const before = lstatSync(folder.plugin);
    expect(before.mode & 0o777).toBe(0o755);
    expect(await run([into(folder)])).toMatchObject({ code: 0, stdout: expect.stringContaining("was there already") });
    const { ino, mtimeMs } = lstatSync(folder.plugin);
    expect({ ino, mtimeMs }).toEqual({ ino: before.ino, mtimeMs: before.mtimeMs });
    // What the runtime could not run is not the same.
    chmodSync(folder.plugin, 0o644);
    expect(await run([into(folder)])).toMatchObject({ code: 0, stdout: expect.stringContaining("is installed") });
    expect(lstatSync(folder.plugin).mode & 0o777).toBe(0o755);
  });

  test("under another name it leaves flannel's alone", async () => {
    using folder = new PluginFolder();
    expect(await run([into(folder), "--name", "tartan"])).toMatchObject({ code: 0, stderr: "" });
    expect(folder.names).toEqual(["bridge", "flannel", "tartan"]);
    expect(folder.holds).toBe("old");
  });

  test("a link becomes the file itself, and what it led to stays", async () => {
    using folder = new PluginFolder();
    using elsewhere = new TemporaryFolder();
    copyFileSync(executable(), elsewhere.at("tartan"));
    symlinkSync(elsewhere.at("tartan"), folder.at("linked"));
    expect(await run([into(folder), "--name=linked"])).toMatchObject({ code: 0 });
    expect(lstatSync(folder.at("linked")).isFile()).toBe(true);
    expect(readdirSync(elsewhere.path)).toEqual(["tartan"]);
  });

  test("two at a time: one installs, the other finds it there", async () => {
    using folder = new PluginFolder();
    const both = await Promise.all([run([into(folder)]), run([into(folder)])]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    const said = both.map(({ stdout }) => /is installed|was there already/.exec(stdout)?.[0]).sort();
    expect(said).toEqual(["is installed", "was there already"]);
    expect(folder.names).toEqual(["bridge", "flannel"]);
  });

  test("a pod that is being made goes on with the plugin that it began with", async () => {
    using folder = new PluginFolder();
    copyFileSync(executable(), folder.plugin);
    appendFileSync(folder.plugin, "of an older version");
    const lines = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    writeFileSync(folder.at("subnet.env"), lines);
    const conf = { cniVersion: "1.0.0", name: "net", type: "flannel", subnetFile: folder.at("subnet.env") };
    const env = { CNI_CONTAINERID: "c", CNI_NETNS: "/proc/self/ns/net", CNI_IFNAME: "eth0", CNI_PATH: "/absent" };
    const add = Bun.spawn([folder.plugin], {
      env: { ...env, CNI_COMMAND: "ADD" },
      // It waits for its configuration, as long as need be.
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    expect(await run([into(folder)])).toMatchObject({ code: 0, stdout: expect.stringContaining("is installed") });
    expect(folder.holds).toBe("new");
    expect(readlinkSync(`/proc/${add.pid}/exe`)).toBe(`${folder.plugin} (deleted)`);
    add.stdin.write(JSON.stringify({ ...conf, dataDir: folder.at("data") }));
    await add.stdin.end();
    const [answer] = await Promise.all([add.stdout.text(), add.exited]);
    // It went as far as to the plugin that does the rest, which is not there.
    expect(JSON.parse(answer)).toMatchObject({ code: expect.any(Number), msg: expect.stringContaining("bridge") });
  });

  test("killed while it copies it leaves the old plugin, and the next run tidies up", async () => {
    using folder = new PluginFolder();
    const temporaries = () => folder.names.filter((name) => name.startsWith(".flannel."));
    for (let killed = 0; killed < 3; ) {
      writeFileSync(folder.plugin, OLD);
      const before = new Set(temporaries());
      const child = start([into(folder)]);
      const isUnderWay = () => temporaries().some((name) => !before.has(name)) || child.exitCode !== null;
      await eventually(isUnderWay, { within: 20_000, what: "it has begun" });
      child.kill("SIGKILL");
      await child.exited;
      // It may have been quicker than the look at it.
      if (child.signalCode !== "SIGKILL" || temporaries().length === 0) continue;
      killed++;
      expect(folder.holds).toBe("old");
      expect(temporaries()).toHaveLength(1);
    }
    expect(await run([into(folder)])).toMatchObject({ code: 0, stdout: expect.stringContaining("is installed") });
    expect(folder.names).toEqual(["bridge", "flannel"]);
  });

  test("killed at any moment it leaves the old plugin or the new one", async () => {
    using folder = new PluginFolder();
    const started = performance.now();
    await run([into(folder)]);
    const usual = performance.now() - started;
    for (let round = 0; round < 12; round++) {
      writeFileSync(folder.plugin, OLD);
      const child = start([into(folder)]);
      await sleep(Math.random() * usual);
      child.kill("SIGKILL");
      await child.exited;
      expect(["old", "new"]).toContain(folder.holds);
    }
    expect(await run([into(folder)])).toMatchObject({ code: 0 });
    expect(folder.holds).toBe("new");
    expect(folder.names.filter((name) => name.startsWith("."))).toEqual([]);
  });

  test.each([
    ["--cni-bin-dir=/absent/bin", "/absent/bin is not there, or is no folder; make it, or tell by --cni-bin-dir"],
    ["--cni-bin-dir=/etc/passwd", "/etc/passwd is not there, or is no folder"],
  ])("%s is refused with the next step", async (arg, says) => {
    expect(await run([arg])).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(says) });
  });

  test("a folder of the plugin's name is left alone", async () => {
    using folder = new PluginFolder();
    mkdirSync(folder.at("taken"));
    const says = expect.stringContaining("a folder has that name; remove it");
    expect(await run([into(folder), "--name=taken"])).toMatchObject({ code: 1, stderr: says });
    expect(folder.names).toEqual(["bridge", "flannel", "taken"]);
  });

  test("the help teaches, and wrong options are refused", async () => {
    const help = await run(["--help"]);
    expect(help.code).toBe(0);
    for (const word of ["--cni-bin-dir=PATH", "--host-root=/host", "Exit code"]) expect(help.stdout).toContain(word);
    for (const line of help.stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(90);
    expect(await run(["--hostroot=/x"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--host-root?") });
    expect(await run(["--name=../x"])).toMatchObject({ code: 2, stderr: expect.stringContaining("a name such as") });
    expect(await run(["--cni-bin-dir="])).toMatchObject({ code: 2, stderr: expect.stringContaining("of a folder") });
  });
});

describe("with --host-root it runs the plugin with the host's C library", () => {
  const attempt = (folder: PluginFolder, root: TemporaryFolder) => run([into(folder), `--host-root=${root.path}`]);

  test("and installs it where that works", async () => {
    using folder = new PluginFolder();
    using root = new HostRoot();
    const says = expect.stringContaining(`which runs with the host's glibc ${GLIBC}`);
    expect(await attempt(folder, root)).toMatchObject({ code: 0, stderr: "", stdout: says });
    expect(folder.holds).toBe("new");
  });

  test("and refuses where that is too old, with both versions; the old plugin stays", async () => {
    using folder = new PluginFolder();
    using root = new HostRoot({ libc: oldLibc("2.17", "2.12") });
    const says = expect.stringContaining("the host's glibc is 2.12, and the plugin needs 2.17");
    expect(await attempt(folder, root)).toMatchObject({ code: 1, stdout: "", stderr: says });
    expect(folder.holds).toBe("old");
    expect(folder.names).toEqual(["bridge", "flannel"]);
    // Also if it was put there by somebody else.
    copyFileSync(executable(), folder.plugin);
    chmodSync(folder.plugin, 0o755);
    expect(await attempt(folder, root)).toMatchObject({ code: 1, stderr: says });
  });

  test("and refuses where a library is missing that the image has", async () => {
    using folder = new PluginFolder();
    using root = new HostRoot({ without: "libm.so.6" });
    const says = expect.stringContaining("the host lacks libm.so.6");
    expect(await attempt(folder, root)).toMatchObject({ code: 1, stderr: says });
    expect(folder.holds).toBe("old");
  });

  test("and refuses a library that breaks at the first call", async () => {
    using folder = new PluginFolder();
    const broken = readFileSync(executable()).subarray(0, 4096);
    using root = new HostRoot({ libc: broken });
    expect(await attempt(folder, root)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is not installed as"),
    });
    expect(folder.holds).toBe("old");
  });

  test("and refuses a host without glibc", async () => {
    using folder = new PluginFolder();
    using root = new TemporaryFolder();
    const says = expect.stringContaining("the C library of the host is not glibc");
    expect(await attempt(folder, root)).toMatchObject({ code: 1, stderr: says });
    expect(folder.holds).toBe("old");
  });
});

describeInNamespaces("a folder of plugins that can't be used", () => {
  /** Mounts something over the folder, for one run and what is looked at after it. */
  const mounted = (folder: TemporaryFolder, options: string) => {
    const script = `mount ${options} "$0" || exit 9; echo old >"$0/flannel" 2>/dev/null; "$@"; code=$?
      [ "$(cat "$0/flannel")" = old ] && echo "the old plugin is there"; ls -A "$0"; exit $code`;
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, folder.path];
  };

  test.each([
    ["that is full", "-t tmpfs -o size=16m tmpfs", "make room in the file system of"],
    ["whose programs can't be started", "-t tmpfs -o noexec tmpfs", "mounted with noexec"],
  ])("%s: it says so, and the old plugin stays", async (_, options, says) => {
    using folder = new TemporaryFolder();
    const { code, stdout, stderr } = await run([into(folder)], mounted(folder, options));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "the old plugin is there\nflannel\n" });
    expect(stderr).toContain(says);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  test("one that is mounted read-only", async () => {
    using folder = new PluginFolder();
    const script = `mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 9; exec "$@"`;
    const before = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, folder.path];
    const says = expect.stringContaining("is read-only; mount it so that it can be written to");
    expect(await run([into(folder)], before)).toMatchObject({ code: 1, stderr: says });
    expect(folder.holds).toBe("old");
  });

  test("another user's takes DAC_OVERRIDE", async () => {
    using folder = new PluginFolder();
    chownSync(folder.path, 65_534, 65_534);
    chmodSync(folder.path, 0o755);
    const as = (capabilities: string) => [
      ...["/usr/bin/setpriv", `--bounding-set=-all${capabilities}`, "--inh-caps=-all", "--no-new-privs", "--"],
    ];
    const says = expect.stringContaining("in a container DAC_OVERRIDE");
    expect(await run([into(folder)], as(""))).toMatchObject({ code: 1, stderr: says });
    expect(folder.holds).toBe("old");
    expect(await run([into(folder)], as(",+dac_override"))).toMatchObject({ code: 0, stderr: "" });
    expect(folder.holds).toBe("new");
  });
});
