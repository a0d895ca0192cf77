import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { callsFlannel } from "../../src/cli/cleanup/files.ts";
import { executable } from "../support/executable.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";

const Report = v.object({
  items: v.array(v.object({ kind: v.string(), name: v.string(), outcome: v.string(), error: v.optional(v.string()) })),
  problems: v.array(v.string()),
});

const FLANNEL = '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel"},{"type":"portmap"}]}';

describe("a CNI configuration is flannel's", () => {
  test.each([
    [FLANNEL, true],
    ['{"type":"flannel"}', true],
    ['{"type":"bridge"}', false],
    ['{"plugins":[{"type":"calico"}]}', false],
    ['{"plugins":"x"}', false],
    ["[]", false],
  ])("%s: %p", (text, expected) => {
    expect(callsFlannel(text)).toBe(expected);
  });
});

describeInNamespaces("tartan cleanup", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const cniFolder = join(folder.path, "net.d");

  beforeAll(async () => {
    mkdirSync(cniFolder);
    await overlay.create(2, undefined, ["--ip-masq", "--ip-blackhole-route"]);
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  /** What the node is without any pod network, and what it may keep. */
  const bystanders = [
    "ip link add vxlan9 type vxlan id 9 dstport 9999",
    "ip route add 198.51.100.0/24 via 192.0.2.200",
    "iptables-nft -A FORWARD -s 198.51.100.0/24 -j ACCEPT",
    "nft add table inet somebody",
    "ip link add cni0 type bridge",
  ];

  const cleanup = async (...args: string[]) => {
    const { ns, agent } = overlay.node(1);
    const command = [
      executable(),
      "cleanup",
      `--subnet-file=${agent.subnetFile}`,
      `--cni-conf-dir=${cniFolder}`,
      ...args,
    ];
    const child = ns.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { stdout, stderr, code };
  };
  const report = async (...args: string[]) => {
    const { stdout, code } = await cleanup("-o", "json", ...args);
    return { ...v.parse(Report, JSON.parse(stdout)), code };
  };
  const sh = (script: string) => overlay.node(1).ns.exec(["sh", "-ec", script]);

  test("shows what there is and removes nothing; refuses while an agent runs; asks first", async () => {
    await Bun.write(join(cniFolder, "10-flannel.conflist"), FLANNEL);
    await Bun.write(join(cniFolder, "20-other.conflist"), '{"plugins":[{"type":"bridge"}]}');
    for (const command of bystanders) await sh(command);
    const { items, problems, code } = await report("--dry-run");
    expect(problems).toEqual([]);
    expect(code).toBe(0);
    expect(items.map(({ kind, outcome }) => `${kind} ${outcome}`)).toEqual([
      "file found",
      "file found",
      "rules found",
      "route found",
      "device found",
    ]);
    expect(items.map(({ name }) => name).join("\n")).toMatch(
      /subnet\.env.*\n.*10-flannel\.conflist.*\nIPv4 masquerade and forward rules in iptables-(nft|legacy)\nblackhole 10\.244\.\d+\.0\/24\nflannel\.1 \(with 1 routes, 1 neighbours, 1 forwarding entries\)/,
    );
    const running = await cleanup("--yes");
    expect(running.code).toBe(1);
    expect(running.stderr).toMatch(/tartan \(process \d+\) runs here and would make it all again/);
    await overlay.node(1).agent.stop();
    const unasked = await cleanup();
    expect(unasked.code).toBe(1);
    expect(unasked.stderr).toContain("give --yes");
    expect(await sh("ip link show flannel.1")).toContain("flannel.1");
  });

  test("removes all that the agent made, and nothing of others", async () => {
    // And what a flanneld in nftables mode, and another kind of iptables, left behind.
    await sh("nft add table ip flannel-ipv4; nft add chain ip flannel-ipv4 postrtg");
    await sh("iptables-legacy -t nat -N FLANNEL-POSTRTG; iptables-legacy -t nat -A POSTROUTING -j FLANNEL-POSTRTG");
    const { items, problems, code } = await report("--yes");
    expect(problems).toEqual([]);
    expect(items.filter(({ outcome }) => outcome !== "removed")).toEqual([]);
    expect(code).toBe(0);
    expect(items.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "IPv4 masquerade and forward rules in nftables",
        "IPv4 masquerade and forward rules in iptables-nft",
        "IPv4 masquerade and forward rules in iptables-legacy",
      ]),
    );
    const left = await sh(
      "ip -o link; ip route show table all; nft list ruleset; iptables-legacy-save; iptables-nft-save; ip6tables-nft-save",
    );
    expect(left).not.toMatch(/flannel/i);
    expect(left).not.toContain("blackhole");
    for (const kept of ["vxlan9", "198.51.100.0/24 via 192.0.2.200", "-A FORWARD -s 198.51.100.0/24 -j ACCEPT", "cni0"])
      expect(left).toContain(kept);
    expect(left).toContain("table inet somebody");
    expect(existsSync(overlay.node(1).agent.subnetFile)).toBe(false);
    expect(existsSync(join(cniFolder, "10-flannel.conflist"))).toBe(false);
    expect(existsSync(join(cniFolder, "20-other.conflist"))).toBe(true);
    expect((await cleanup("--yes")).stdout).toBe("there is nothing of tartan or flanneld on this node\n");
  });

  test("names what it can't read, removes the rest, and says so by its exit code", async () => {
    await overlay.node(1).agent.start();
    await overlay.node(1).agent.stop("SIGKILL");
    await Bun.write(join(cniFolder, "30-broken.conflist"), "{");
    const { items, problems, code } = await report("--yes");
    expect(problems).toEqual([expect.stringContaining("30-broken.conflist, it is left alone")]);
    expect(items.every(({ outcome }) => outcome === "removed")).toBe(true);
    expect(items.length).toBeGreaterThanOrEqual(4);
    expect(code).toBe(1);
    expect(await sh("ip -o link")).not.toContain("flannel");
  });

  test("a node that was cleaned up comes back with its agent", async () => {
    await overlay.node(1).agent.start();
    await overlay.node(1).agent.settled(2);
  });

  test.each([
    [["--dry-rnu"], /--dry-rnu.*did you mean --dry-run/],
    [["flannel.1"], /unexpected argument "flannel\.1"/],
    [["--output=xml"], /--output must be text or json/],
  ])("wrong options %p: told in one line, exit code 2", async (args, says) => {
    const { code, stderr } = await cleanup(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("--help teaches", async () => {
    const { stdout, code } = await cleanup("--help");
    expect(code).toBe(0);
    for (const text of ["--dry-run", "--yes", "Exit code", "cni0"]) expect(stdout).toContain(text);
  });
});
