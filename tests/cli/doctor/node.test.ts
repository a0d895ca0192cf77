import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { Report } from "../../../src/cli/doctor/report.ts";
import { executable } from "../../support/executable.ts";
import { Netns } from "../../support/netns.ts";
import { Overlay } from "../../support/overlay.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { TemporaryFolder, useTemporaryFolder } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import { diagnose, runDoctor } from "./running-doctor.ts";

const Peers = v.object({ items: v.array(v.object({ state: v.string() })) });
const FLANNEL = '{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel"},{"type":"portmap"}]}';

describeInNamespaces("tartan doctor on a node with an agent", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const confFolder = folder.at("net.d");
  const binFolder = folder.at("bin");
  const dirs = [`--cni-conf-dir=${confFolder}`, `--cni-bin-dir=${binFolder}`];

  /** As on a node with flannel. */
  function fillFolders(): void {
    mkdirSync(confFolder);
    mkdirSync(binFolder);
    writeFileSync(join(confFolder, "10-flannel.conflist"), FLANNEL);
    for (const name of ["bridge", "host-local", "portmap", "loopback"])
      symlinkSync(`/usr/lib/cni/${name}`, join(binFolder, name));
    copyFileSync(executable(), join(binFolder, "flannel"));
  }

  beforeAll(async () => {
    fillFolders();
    await overlay.create(2, undefined, ["--ip-masq"]);
    await overlay.start();
    await overlay.attachPods();
    // The first probes may have come before the other agent was ready.
    await eventually(areAllUp, { within: 30_000, what: "each agent's probes are answered" });
  });

  afterAll(() => overlay[Symbol.dispose]());

  const ns = () => overlay.node(1).ns;
  const sh = (script: string) => ns().exec(["sh", "-ec", script]);
  const look = (...args: string[]) => diagnose(ns(), [...dirs, ...args]);

  const areAllUp = async () => {
    const answers = await Promise.all(
      overlay.nodes.map(async ({ agent }) => (await agent.fetch("/debug/peers")).json()),
    );
    return answers.flatMap((answer) => v.parse(Peers, answer).items).every(({ state }) => state === "up");
  };

  /** Looks while something is not as it should be. */
  async function looking(change: string, back: string) {
    await sh(change);
    try {
      return await look();
    } finally {
      await sh(back);
      // Its agent may have seen that, too, by what it looks at now and then.
      await eventually(async () => (await overlay.node(1).agent.readiness()).warnings.length === 0, {
        within: 30_000,
        what: "the agent warns no more",
      });
    }
  }

  test("all is well: nothing but ok and skipped, exit code 0, from the agent's own flags", async () => {
    const { code, report, problems, of } = await look();
    expect(problems).toEqual([]);
    expect([code, report.worst]).toEqual([0, "ok"]);
    expect(report.configuration.from).toMatch(/^the command line of tartan \(process \d+\)$/);
    expect(report.configuration.leaseSource).toBe("embedded");
    expect(of("device")).toEqual(["ok: flannel.1 is as it should be"]);
    expect(of("external-interface")).toEqual(["ok: eth0 with 192.0.2.1, MTU 1500"]);
    expect(of("readiness")).toEqual(["ok: it is ready, and warns of nothing"]);
  });

  test("net.ipv4.ip_forward is 0: an error with the command that sets it, exit code 3", async () => {
    const { code, problems, fixOf } = await looking(
      "echo 0 > /proc/sys/net/ipv4/ip_forward",
      "echo 1 > /proc/sys/net/ipv4/ip_forward",
    );
    expect(problems).toEqual([
      "ip-forward: error: net.ipv4.ip_forward is 0, so this node passes nothing on between pods and others",
    ]);
    expect(fixOf("ip-forward")).toContain("sysctl -w net.ipv4.ip_forward=1\n");
    expect(code).toBe(3);
  });

  test("br_netfilter is turned off: a warning, exit code 1", async () => {
    const path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    const { code, problems } = await looking(`echo 0 > ${path}`, `echo 1 > ${path}`);
    expect(problems.join("\n")).toContain("br-netfilter: warning: net.bridge.bridge-nf-call-iptables is 0");
    expect(code).toBe(1);
  });

  test.each<[what: string, change: string, back: string, found: RegExp, fix: RegExp]>([
    [
      "a route that takes a part of the pod network away",
      "ip route add 10.244.200.0/24 dev eth0",
      "ip route del 10.244.200.0/24 dev eth0",
      /^overlap: error: the route to 10\.244\.200\.0\/24 by eth0 takes packets of the pod network 10\.244\.0\.0\/16 away$/,
      /ip route del 10\.244\.200\.0\/24 dev eth0/,
    ],
    [
      "a route around the pod network",
      "ip route add 10.0.0.0/8 via 192.0.2.2",
      "ip route del 10.0.0.0/8",
      /^overlap: warning: the route to 10\.0\.0\.0\/8 by eth0 leads to hosts whose addresses .* has as well/,
      /another pod network/,
    ],
    [
      "an address of the pod network on another interface",
      "ip address add 10.244.201.1/32 dev eth0",
      "ip address del 10.244.201.1/32 dev eth0",
      /^overlap: error: eth0 has the address 10\.244\.201\.1/,
      /move what is in the way/,
    ],
    [
      "strict reverse path filtering with a second interface",
      "ip link add eth9 type bridge; ip link add link eth0 eth8 type macvlan; ip address add 198.51.100.1/24 dev eth8; ip link set eth8 up; echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
      "echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter; ip link del eth8; ip link del eth9",
      /^rp-filter: warning: rp_filter is strict on eth0, and this node has several interfaces \(eth0, eth8\)/,
      /sysctl -w net\.ipv4\.conf\.eth0\.rp_filter=2/,
    ],
    [
      "firewalld's table",
      "nft add table inet firewalld",
      "nft delete table inet firewalld",
      /^firewalls: warning: firewalld is active/,
      /firewall-cmd --permanent --add-port=8472\/udp\n.*--add-source=10\.244\.0\.0\/16/,
    ],
    [
      "ufw's chains",
      "iptables-nft -N ufw-user-forward",
      "iptables-nft -X ufw-user-forward",
      /^firewalls: warning: ufw is active/,
      /ufw allow 8472\/udp/,
    ],
    [
      "a bridge of pods that were made for a larger MTU",
      "ip link set cni0 mtu 1500",
      "ip link set cni0 mtu 1450",
      /^mtu: warning: pods' bridge cni0 has MTU 1500, more than the 1450 that reach other nodes/,
      /delete the pods/,
    ],
  ])("%s", async (_, change, back, found, fix) => {
    const { problems, report } = await looking(change, back);
    expect(problems).toEqual([expect.stringMatching(found)]);
    expect(report.findings.find((one) => one.fix !== undefined)?.fix).toMatch(fix);
    expect((await look()).problems).toEqual([]);
  });

  test("a bridge from another subnet", async () => {
    const [, address] = /inet (\S+)/.exec(await sh("ip -4 -o address show dev cni0")) ?? [];
    const { problems } = await looking(
      `ip address add 10.244.99.1/24 dev cni0; ip address del ${address} dev cni0`,
      `ip address add ${address} dev cni0; ip address del 10.244.99.1/24 dev cni0`,
    );
    expect(problems.join("\n")).toMatch(/^bridge: error: cni0 has 10\.244\.99\.1\/24, but this node's subnet is/m);
  });

  test("a base chain that drops what it does not accept", async () => {
    const { problems, fixOf } = await looking(
      "nft add table inet other; nft 'add chain inet other guard { type filter hook forward priority 0; policy drop; }'",
      "nft delete table inet other",
    );
    expect(problems.join("\n")).toMatch(
      /drop-policies: warning: chain guard of the nftables table inet other drops by its policy/,
    );
    expect(fixOf("drop-policies")).toContain("set its policy to accept");
  });

  test("rules in both kinds of iptables", async () => {
    const { of } = await looking(
      "iptables-legacy -A FORWARD -s 198.51.100.0/24 -j ACCEPT; iptables-nft -A FORWARD -s 198.51.100.0/24 -j ACCEPT",
      "iptables-legacy -F FORWARD; iptables-nft -D FORWARD -s 198.51.100.0/24 -j ACCEPT",
    );
    expect(of("iptables-kinds")).toEqual([
      expect.stringMatching(/^warning: iptables-legacy has \d+ rules and iptables-nft \d+/),
    ]);
  });

  describe("of the runtime's folders", () => {
    const path = (name: string) => join(confFolder, name);

    afterEach(() => {
      rmSync(confFolder, { recursive: true });
      rmSync(binFolder, { recursive: true });
      fillFolders();
    });

    test("another CNI's conflist before flannel's, and one that is broken", async () => {
      await Bun.write(path("05-other.conflist"), '{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"calico"}]}');
      await Bun.write(path("99-broken.conflist"), "{");
      const { problems, fixOf } = await look();
      expect(problems).toEqual([
        `cni-conf: error: ${path("05-other.conflist")} (calico) comes before flannel's by name, so pods are not made by tartan`,
        expect.stringContaining(`cni-conf: warning: ${path("99-broken.conflist")}: it is not JSON`),
      ]);
      expect(fixOf("cni-conf")).toContain(`rm ${path("05-other.conflist")}`);
    });

    test("a plugin that is missing, and one that is no plugin", async () => {
      rmSync(join(binFolder, "portmap"));
      await Bun.write(join(binFolder, "flannel"), "#!/bin/sh\necho hello\n");
      const { problems, fixOf } = await look();
      expect(problems).toEqual([
        `cni-plugins: error: the plugin ${binFolder}/portmap is missing`,
        `cni-plugin-version: error: ${binFolder}/flannel does not answer as a CNI plugin: hello`,
      ]);
      expect(fixOf("cni-plugins")).toContain("apt install containernetworking-plugins");
      expect(fixOf("cni-plugin-version")).toContain("tartan install-cni");
    });
  });

  test("flags given here win over the agent's; a subnet.env with garbage is told", async () => {
    const garbage = folder.at("garbage.env");
    await Bun.write(garbage, "hello\n");
    const flags = [`--lease-store=${overlay.store}`, `--net-config-path=${overlay.netConf}`, "--iface=eth0"];
    const { report, of } = await look(...flags, `--subnet-file=${garbage}`, "--debug-addr=off");
    expect(report.configuration.from).toBe("the flags given here");
    expect(of("subnet-env")).toEqual([
      `error: ${garbage} can't be used, so pods can't be made: it has no line of the form KEY=value`,
    ]);
    expect(of("agent")).toEqual([
      expect.stringMatching(/^warning: tartan \(process \d+\) runs here, but its --debug-addr is off$/),
    ]);
  });

  test("from a container with the host's root: its files count, also the plugin's own bytes", async () => {
    const root = folder.at("root");
    const at = (path: string) => join(root, path);
    const write = (path: string, text: string) => Bun.write(at(path), text);
    await write("etc/cni/net.d/10-flannel.conflist", FLANNEL);
    await write(
      "usr/lib/systemd/network/99-default.link",
      "[Match]\nOriginalName=*\n[Link]\nMACAddressPolicy=persistent\n",
    );
    await write("etc/kube-flannel/net-conf.json", readFileSync(overlay.netConf, "utf8"));
    for (const name of ["bridge", "host-local", "portmap", "loopback"])
      await write(`opt/cni/bin/${name}`, "#!/bin/sh\n");
    copyFileSync(executable(), at("opt/cni/bin/flannel"));
    for (const name of readdirSync(at("opt/cni/bin"))) chmodSync(at(`opt/cni/bin/${name}`), 0o755);
    const flags = [`--host-root=${root}`, "--iface=eth0", "--debug-addr=off"];
    const { of, fixOf } = await diagnose(ns(), flags);
    expect(of("cni-conf")).toEqual([
      `ok: the runtime takes ${at("etc/cni/net.d/10-flannel.conflist")}, which calls flannel`,
    ]);
    expect(of("cni-plugins")).toEqual([
      `ok: flannel, bridge, host-local, portmap, loopback are in ${at("opt/cni/bin")}`,
    ]);
    expect(of("cni-plugin-version")).toEqual([expect.stringMatching(/flannel is this executable, /)]);
    expect(of("mac-policy")).toEqual([
      expect.stringMatching(/^warning: .*99-default\.link has MACAddressPolicy=persistent for flannel\.1/),
    ]);
    expect(fixOf("mac-policy")).toContain("10-flannel.link");
    await write("opt/cni/bin/flannel", "#!/bin/sh\n");
    chmodSync(at("opt/cni/bin/flannel"), 0o755);
    expect((await diagnose(ns(), flags)).of("cni-plugin-version")).toEqual([
      expect.stringMatching(/^warning: .* is another version/),
    ]);
  });

  test("an agent whose process is not to be seen is asked for its flags", async () => {
    using elsewhere = new Netns();
    const { report, of } = await diagnose(elsewhere, [...dirs, `--debug-addr=unix:${folder.at("n1.sock")}`]);
    expect(report.configuration).toEqual({
      from: `the agent at unix:${folder.at("n1.sock")}`,
      leaseSource: "embedded",
    });
    expect(of("subnet-env")).toEqual([expect.stringContaining(overlay.node(1).agent.subnetFile)]);
    expect(of("network-config")).toEqual([expect.stringContaining("10.244.0.0/16")]);
  });

  test("without root: what needs it is skipped and says so; nothing breaks", async () => {
    const ns1 = ns();
    const command = [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--bounding-set=-all",
      "--inh-caps=-all",
    ];
    const flags = [`--net-config-path=${overlay.netConf}`, "--iface=eth0", "--debug-addr=off"];
    using open = new TemporaryFolder();
    chmodSync(open.path, 0o755);
    copyFileSync(executable(), open.at("tartan"));
    copyFileSync(overlay.netConf, open.at("net-conf.json"));
    chmodSync(open.at("net-conf.json"), 0o644);
    flags[0] = `--net-config-path=${open.at("net-conf.json")}`;
    const child = ns1.spawn([...command, open.at("tartan"), "doctor", "-o", "json", ...flags], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const { findings } = v.parse(Report, JSON.parse(await child.stdout.text()));
    expect(findings.filter(({ message }) => message.includes("the check itself failed"))).toEqual([]);
    expect(
      findings.filter(({ message }) => message.endsWith("needs root; run it with sudo")).map(({ check }) => check),
    ).toContain("drop-policies");
    expect(findings.find(({ check }) => check === "ip-forward")?.status).toBe("ok");
  });

  test("its text fits 80 columns and has no colours where it is no terminal", async () => {
    const { stdout, code } = await runDoctor(ns(), [...dirs, "--iface=nothing"]);
    expect(code).toBe(3);
    const long = stdout.split("\n").filter((line) => line.length > 80 && / \S+ /.test(line.trim()));
    expect(long).toEqual([]);
    expect(stdout).not.toContain("\x1b");
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^\d+ errors?, \d+ warnings?, \d+ ok, \d+ skipped$/);
  });

  test("when the agent has stopped, the node is as it left it", async () => {
    const { agent } = overlay.node(1);
    await agent.stop();
    const flags = [`--lease-store=${overlay.store}`, `--net-config-path=${overlay.netConf}`, "--iface=eth0"];
    const { problems, of } = await look(...flags, `--subnet-file=${agent.subnetFile}`, "--ip-masq");
    const noAgent = expect.stringContaining("warning: no agent runs here, though flannel.1 is there");
    expect(problems).toEqual([expect.stringContaining("no agent runs here, though flannel.1 is there")]);
    expect(of("agent")).toEqual([noAgent]);
    expect(of("entries")).toEqual([
      expect.stringMatching(/^ok: all that the kernel has of \d+ other nodes? is complete$/),
    ]);
    expect(of("device")).toEqual(["ok: flannel.1 is as it should be"]);
    await agent.start();
  });
});
