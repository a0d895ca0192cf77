import { expect, test } from "bun:test";
import { dirname, join, relative } from "node:path";
import { executable } from "../support/executable.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** The plugin is in the way of every pod: what it loads is counted. */

const ROOT = join(import.meta.dir, "..", "..");
const MAIN = join(ROOT, "src", "main.ts");
const PLUGIN = join(ROOT, "src", "cni", "cni.ts");

/** The modules of ours, and packages, that a file leads to. @param late also what it imports only when needed */
async function modulesFrom(entry: string, late: boolean): Promise<Set<string>> {
  const found = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    if (found.has(relative(ROOT, path))) return;
    found.add(relative(ROOT, path));
    // What is taken in as text leads nowhere.
    if (!path.endsWith(".ts")) return;
    const transpiler = new Bun.Transpiler({ loader: "ts" });
    for (const { path: name, kind } of transpiler.scanImports(await Bun.file(path).text())) {
      if (kind === "dynamic-import" && !late) continue;
      if (name.startsWith(".")) await visit(join(dirname(path), name));
      else found.add(name);
    }
  };
  await visit(entry);
  return found;
}

const HEAVY = /^(hono|@kubernetes|@logtape|bun:sqlite|bun:ffi|src\/(ffi\/libnl|lease|status|agent|kernel))/;

test("no module of the agent is loaded: no Kubernetes client, no HTTP server, no libnl, no log", async () => {
  const loaded = new Set([...(await modulesFrom(MAIN, false)), ...(await modulesFrom(PLUGIN, false))]);
  expect([...loaded].filter((name) => HEAVY.test(name))).toEqual([]);
  expect([...loaded]).toContain("src/cni/add.ts");
  // CHECK alone asks the kernel for an MTU.
  const later = [...(await modulesFrom(PLUGIN, true))].filter((name) => HEAVY.test(name));
  expect(later).toEqual(["bun:ffi"]);
  // The same look finds them in the agent.
  const agent = [...(await modulesFrom(join(ROOT, "src", "agent", "agent.ts"), false))];
  for (const name of ["hono", "@logtape/logtape", "src/ffi/libnl/socket.ts"]) expect(agent).toContain(name);
});

/** The shared libraries of which the dynamic loader tells, in what a process with LD_DEBUG=files wrote to stderr. */
function librariesIn(stderr: string): string[] {
  const lines = stderr.matchAll(/file=(\S+) \[\d+\];\s+(?:needed|dynamically loaded|generating)/g);
  return [...new Set([...lines].map(([, name = ""]) => name.split("/").at(-1) ?? name))].sort();
}

const OF_LIBC = /^(lib(c|m|dl|pthread)\.so\.\d+|ld-linux.*)$/;

describeInNamespaces("shared libraries", () => {
  test("none but libc's, not for CHECK either", async () => {
    using folder = new TemporaryFolder();
    await Bun.write(
      folder.at("subnet.env"),
      "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    );
    const netns = "/proc/self/ns/net";
    const conf = {
      cniVersion: "1.0.0",
      name: "net",
      subnetFile: folder.at("subnet.env"),
      dataDir: folder.at("data"),
      prevResult: { interfaces: [{ name: "lo", sandbox: netns }], ips: [] },
    };
    const environment = { CNI_CONTAINERID: "c", CNI_NETNS: netns, CNI_IFNAME: "lo", CNI_PATH: "/absent" };
    for (const [verb, code] of [
      ["VERSION", undefined],
      ["ADD", 7],
      ["DEL", undefined],
      // It has asked the kernel for the MTU of lo.
      ["CHECK", 102],
    ] as const) {
      const child = Bun.spawn([executable()], {
        env: { ...environment, CNI_COMMAND: verb, LD_DEBUG: "files" },
        stdin: Buffer.from(JSON.stringify(conf)),
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      const loaded = librariesIn(stderr);
      expect(loaded).toContain("libc.so.6");
      expect(loaded.filter((name) => !OF_LIBC.test(name))).toEqual([]);
      if (code !== undefined) expect(JSON.parse(stdout)).toMatchObject({ code });
    }
  });

  test("the same look sees libnl in the agent", async () => {
    using folder = new TemporaryFolder();
    using ns = new Netns();
    await Bun.write(folder.at("net-conf.json"), '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}');
    const files = [
      `--lease-store=${folder.at("leases.db")}`,
      `--net-config-path=${folder.at("net-conf.json")}`,
      `--subnet-file=${folder.at("subnet.env")}`,
    ];
    const child = ns.spawn([executable(), ...files, "--debug-addr=off", "--debug-socket=off"], {
      env: { LD_DEBUG: "files" },
      stdout: "ignore",
      stderr: Bun.file(folder.at("stderr")),
    });
    await eventually(async () => librariesIn(await Bun.file(folder.at("stderr")).text()).includes("libnl-3.so.200"), {
      within: 20_000,
      what: "the agent has loaded libnl",
    });
    child.kill("SIGKILL");
    await child.exited;
  });
});
