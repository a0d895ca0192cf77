import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planCni } from "../../src/cli/lab/cni/plan.ts";
import { CniRunner as Impatient, parseConflist } from "../../src/cli/lab/cni/runner.ts";
import { identityOf } from "../../src/cli/lab/processes.ts";
import { CniRunner, sampleConflist } from "../support/cni.ts";
import { executable } from "../support/executable.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { agentOf, endLabs, startLab, tracesOf } from "./running-lab.ts";

describe("a node's conflist", () => {
  test("is the sample for operators, with the plugins' own files in the lab's folder", () => {
    const { source, conflist, addressDir, pluginDir } = planCni("abcde", "n1", "/run/tartan-lab/abcde/subnet.env");
    const mine = JSON.parse(JSON.stringify(sampleConflist("FOLDER")).replaceAll("FOLDER/", ""));
    const theirs = JSON.parse(
      source.content.replaceAll("/run/tartan-lab/abcde/n1.cni/", "").replaceAll("/run/tartan-lab/abcde/", ""),
    );
    expect(theirs).toEqual(mine);
    for (const path of [source.path, conflist, addressDir, pluginDir])
      expect(path).toStartWith("/run/tartan-lab/abcde/");
  });
});

describeInNamespaces("tartan lab: pods by CNI", () => {
  beforeAll(() => void executable());
  afterEach(endLabs);

  const exec = async (...command: readonly string[]) => {
    const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
    return stdout;
  };
  const shown = (id: string, node: string) => {
    const place = `/run/tartan-lab/${id}/${node}.cni`;
    const folder = join(place, "networks", "cbr0");
    const addresses = readdirSync(folder).filter((name) => /^[\da-f.:]+$/.test(name));
    return { place, folder, addresses };
  };

  test("the agent writes the conflist, and IPAM in the lab's folder gives the addresses; the wiring is the plugins'", async () => {
    const lab = startLab("--nodes=2", "--family=46");
    const id = await lab.id();
    await lab.stays();
    for (const number of [1, 2]) {
      const [node, pod] = [`n${number}`, `tartan-lab-${id}-pod${number}`];
      const { place, folder, addresses } = shown(id, node);
      expect(addresses).toHaveLength(2);
      for (const address of addresses) {
        expect(readFileSync(join(folder, address), "utf8").split(/\s+/)).toEqual([pod, "eth0"]);
        expect(lab.stdout).toMatch(new RegExp(`^${node} +\\S+ +${address.replaceAll(".", "\\.")} `, "m"));
        expect(await exec("ip", "-n", pod, "address", "show", "dev", "eth0")).toContain(` ${address}/`);
      }
      expect(readdirSync(join(place, "flannel"))).toEqual([pod]);
      const { plugins } = parseConflist(readFileSync(join(place, "10-flannel.conflist"), "utf8"));
      expect(plugins).toMatchObject([{ type: "flannel", dataDir: join(place, "flannel") }, { type: "portmap" }]);
      expect(await exec("ip", "-n", `tartan-lab-${id}-${node}`, "-d", "link", "show", "master", "cni0")).toContain(
        "veth",
      );
      expect(await exec("ip", "-n", pod, "-brief", "link", "show", "lo")).toContain("UP");
    }
    const outsideOfIt = tracesOf(id).filter((path) => path.startsWith("/"));
    expect(outsideOfIt).toEqual([]);
    lab.child.kill("SIGINT");
    expect(await lab.end()).toBe(0);
    expect(tracesOf(id)).toEqual([]);
  });

  test("where nothing may be executed from /run, as on Debian", async () => {
    const script = 'mount -t tmpfs -o noexec tmpfs /run; exec "$1" lab --nodes=2 --once';
    const command = ["unshare", "--mount", "sh", "-ec", script, "sh", executable()];
    const lab = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    const stderr = await lab.stderr.text();
    expect(await lab.exited, stderr).toBe(0);
  });

  /** Puts a script in the place of a plugin of a node that waits for its agent. */
  function standIn(id: string, node: string, type: string, folder: TemporaryFolder, script: string): void {
    const plugin = `/run/tartan-lab/${id}/plugins/${node}/${type}`;
    const file = folder.at(`${node}-${type}`);
    // A link, as the lab's own are: nothing may be executed from /run on some hosts.
    writeFileSync(file, `#!/bin/sh\n${script.replaceAll("REAL", `${plugin}.real`)}\n`, { mode: 0o755 });
    renameSync(plugin, `${plugin}.real`);
    symlinkSync(file, plugin);
  }

  test("Ctrl-C deletes the pods by CNI, in the reverse order, while their namespaces are there", async () => {
    using folder = new TemporaryFolder();
    const lab = startLab("--nodes=2");
    const id = await lab.id();
    await lab.stays();
    const log = folder.at("log");
    for (const type of ["portmap", "flannel", "host-local", "loopback"]) {
      standIn(id, "n1", type, folder, `[ -e "$CNI_NETNS" ] && echo "$CNI_COMMAND ${type}" >>${log}; exec REAL`);
    }
    const { addresses } = shown(id, "n1");
    expect(addresses).toHaveLength(1);
    lab.child.kill("SIGINT");
    expect(await lab.end()).toBe(0);
    expect(readFileSync(log, "utf8").trim().split("\n")).toEqual([
      "DEL portmap",
      "DEL flannel",
      "DEL host-local",
      "DEL loopback",
    ]);
    expect(tracesOf(id)).toEqual([]);
  });

  test("a pod that CNI does not take away is told and in the exit code; nothing is left all the same", async () => {
    using folder = new TemporaryFolder();
    const lab = startLab("--nodes=2");
    const id = await lab.id();
    await lab.stays();
    const answer = '{"cniVersion":"1.0.0","code":5,"msg":"no","details":"the disk is full"}';
    standIn(id, "n2", "host-local", folder, `echo '${answer}'; exit 1`);
    lab.child.kill("SIGINT");
    expect(await lab.end()).toBe(1);
    expect(lab.stderr).toMatch(/^lab: eth0 of the pod of n2 can't be deleted: flannel DEL: .*no.*; the disk is full$/m);
    expect(lab.stderr).not.toContain("pod of n1");
    expect(tracesOf(id)).toEqual([]);
  });

  /** Stops an agent for which the lab waits, so that there is time to spoil something before pods are attached. */
  async function beforePods(id: string, spoil: () => unknown): Promise<void> {
    const agent = await agentOf(id);
    process.kill(agent, "SIGSTOP");
    spoil();
    process.kill(agent, "SIGCONT");
  }

  test("a pod that CNI does not attach: the node, the plugin, its words; nothing is left", async () => {
    const lab = startLab("--nodes=2", "--once");
    const id = await lab.id();
    await beforePods(id, () => rmSync(`/run/tartan-lab/${id}/plugins/n2/bridge`));
    expect(await lab.end()).toBe(1);
    expect(lab.stderr).toMatch(
      /^tartan: the pod of n2 can't be attached: flannel ADD: the plugin bridge, .* is in no folder of CNI_PATH; looked in \S+; Debian has it in containernetworking-plugins$/m,
    );
    expect(lab.stdout).toBe("");
    expect(tracesOf(id)).toEqual([]);
  });

  test("stopped while a plugin works: it ends first, then comes its DEL; nothing is left", async () => {
    using folder = new TemporaryFolder();
    const lab = startLab("--nodes=2", "--once");
    const id = await lab.id();
    const [log, gate] = [folder.at("log"), folder.at("gate")];
    await beforePods(id, () =>
      standIn(
        id,
        "n1",
        "host-local",
        folder,
        `echo "$CNI_COMMAND" >>${log}; [ "$CNI_COMMAND" = DEL ] || while [ ! -e ${gate} ]; do sleep 0.05; done
REAL; code=$?; echo "$CNI_COMMAND ended $code" >>${log}; exit $code`,
      ),
    );
    await eventually(() => existsSync(log), { within: 40_000, what: "an ADD" });
    lab.child.kill("SIGINT");
    writeFileSync(gate, "");
    expect(await lab.end()).toBe(130);
    expect(readFileSync(log, "utf8").trim().split("\n")).toEqual(["ADD", "ADD ended 0", "DEL", "DEL ended 0"]);
    expect(tracesOf(id)).toEqual([]);
  });

  test("without Debian's plugins: one line says what to install, and nothing is made", async () => {
    using empty = new TemporaryFolder();
    const script = `
      for folder in /usr/lib/cni /opt/cni/bin; do [ ! -d $folder ] || mount --bind "$1" $folder; done
      exec "$2" lab --once`;
    const command = ["unshare", "--mount", "sh", "-ec", script, "sh", empty.path, executable()];
    const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    expect({
      stdout: await child.stdout.text(),
      stderr: await child.stderr.text(),
      code: await child.exited,
    }).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "tartan: missing CNI plugins: bridge, host-local, loopback, portmap (not in /usr/lib/cni or /opt/cni/bin); " +
        "on Debian: apt install containernetworking-plugins\n",
    });
  });

  test("a plugin that hangs is killed with what it has started", async () => {
    using folder = new TemporaryFolder();
    using node = new Netns();
    const pids = folder.at("pids");
    const within = (command: readonly string[]) => node.command(command);
    const plugins = new CniRunner(node, folder.path);
    plugins.standIn("slow", `sleep 1000 & echo "$$ $!" >${pids}; wait`);
    // Long enough for the plugin to start on a busy machine.
    const impatient = new Impatient({ path: [plugins.plugins], within, patienceMs: 3_000 });
    await expect(impatient.call("ADD", "slow", {})).rejects.toThrow("slow ADD took longer than 3 s and was killed");
    const started = readFileSync(pids, "utf8").trim().split(" ");
    expect(started).toHaveLength(2);
    const haveEnded = () => started.every((pid) => identityOf(Number(pid)) === undefined);
    await eventually(haveEnded, { within: 15_000, what: "the end of both" });
  });
});
