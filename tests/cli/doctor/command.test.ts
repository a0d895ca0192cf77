import { describe, expect, test } from "bun:test";
import { TestAgent } from "../../support/agent.ts";
import { Netns } from "../../support/netns.ts";
import { Overlay } from "../../support/overlay.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { TemporaryFolder } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import { diagnose, runDoctor } from "./running-doctor.ts";

describe("the command tartan doctor", () => {
  test.each([
    [["--tiemout=3"], /unknown flag --tiemout/],
    [["--timeout=soon"], /--timeout must be a number of seconds/],
    [["--output=xml"], /--output must be text or json/],
    [["eth0"], /unexpected argument "eth0"/],
  ])("wrong options %p: told in one line, exit code 2", async (args, says) => {
    const { code, stderr } = await runDoctor(undefined, args);
    expect(code).toBe(2);
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("--help teaches, in 80 columns", async () => {
    const { stdout, code } = await runDoctor(undefined, ["--help"]);
    expect(code).toBe(0);
    for (const text of ["--cni-bin-dir", "--host-root", "Exit code", "kubectl"]) expect(stdout).toContain(text);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});

describeInNamespaces("tartan doctor on a node before the installation", () => {
  test("nothing is there: what the node lacks, and nothing is changed by looking", async () => {
    using ns = new Netns();
    await ns.sysctl("ipv4.ip_forward", 0);
    const state = () =>
      ns.exec(["sh", "-ec", "ip -d address; ip route show table all; nft list ruleset; iptables-legacy-save"]);
    const before = await state();
    const { code, report, problems, of } = await diagnose(ns, []);
    expect(problems.map((text) => text.split(":", 2).join(":"))).toEqual([
      "ip-forward: error",
      "external-interface: error",
    ]);
    expect(code).toBe(3);
    expect(report.configuration).toEqual({ from: "defaults, as no agent runs here", leaseSource: null });
    expect(of("network-config")).toEqual([expect.stringContaining("the checks go by the manifest's, 10.244.0.0/16")]);
    expect(await state()).toBe(before);
  });

  test("what the installation brings is not asked for before it, unless it was named", async () => {
    using ns = new Netns();
    const kube = ["--kube-subnet-mgr", "--kube-api-url=http://127.0.0.1:1"];
    const { of } = await diagnose(ns, kube);
    expect(of("network-config")).toEqual([expect.stringContaining("skipped: there is none yet")]);
    const named = await diagnose(ns, [...kube, "--net-config-path=/absent/net-conf.json"]);
    expect(named.of("network-config")).toEqual([expect.stringContaining("error: /absent/net-conf.json")]);
  });

  test("others have the VXLAN port: a device with our VNI, or a process", async () => {
    using ns = new Netns();
    await ns.sysctl("ipv4.ip_forward", 1);
    await ns.exec(["ip", "link", "add", "foreign", "up", "type", "vxlan", "id", "1", "dstport", "8472"]);
    const device = await diagnose(ns, []);
    expect(device.of("vxlan-port")).toEqual([
      "error: the device foreign has VNI 1 and UDP port 8472, which flannel.1 needs",
    ]);
    expect(device.fixOf("vxlan-port")).toStartWith("ip link delete foreign");
    await ns.exec(["ip", "link", "del", "foreign"]);
    const script =
      'await Bun.udpSocket({ hostname: "0.0.0.0", port: 8472 }); console.log("bound"); setInterval(() => {}, 1e6)';
    const child = ns.spawn([process.execPath, "-e", script], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
    await child.stdout.getReader().read();
    const socket = await diagnose(ns, []);
    expect(socket.of("vxlan-port")).toEqual([
      expect.stringMatching(new RegExp(`^error: UDP port 8472 is in use by .+ \\(process ${child.pid}\\)$`)),
    ]);
  });

  test("a check that hangs is an error of that check", async () => {
    // Nobody answers there, and nobody refuses.
    const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    try {
      const { of, report } = await diagnose(undefined, [
        `--etcd-endpoints=http://127.0.0.1:${server.port}`,
        "--timeout=1",
      ]);
      expect(of("lease-source")).toEqual([expect.stringMatching(/^error: /)]);
      expect(report.findings.find(({ check }) => check === "conntrack")).toBeDefined();
    } finally {
      server.stop(true);
    }
  });
});

describeInNamespaces("tartan doctor beside an agent with another root", () => {
  test("does not look for that agent's credentials here, and says where to look", async () => {
    using folder = new TemporaryFolder();
    using ns = new Netns();
    const leases = ["--kube-subnet-mgr", "--kube-api-url=https://127.0.0.1:1"];
    const options = { ns, folder: folder.path, name: "n1", store: "", netConf: "", leases, before: "true" };
    const agent = new TestAgent(options);
    agent.spawn();
    await eventually(() => agent.readiness(), { within: 15_000, what: "the agent answers" });
    const { report, of } = await diagnose(ns, []);
    expect(report.configuration.leaseSource).toBe("kubernetes");
    expect(of("lease-source")).toEqual([
      expect.stringMatching(/^skipped: .* run tartan doctor there, or give the flags/),
    ]);
    // Given here, they are to be found here.
    const { problems } = await diagnose(ns, [...leases, `--debug-addr=unix:${folder.at("n1.sock")}`]);
    expect(problems.join("\n")).toMatch(/^lease-source: error: .*nothing listens there/m);
    expect(problems.join("\n")).toMatch(/^readiness: error: not ready \(/m);
    await agent.stop();
  });
});

describeInNamespaces("tartan doctor with both families", () => {
  test("all is well; without IPv6 forwarding it says so", async () => {
    using folder = new TemporaryFolder();
    using overlay = new Overlay(folder.path, [4, 6]);
    await overlay.create(1);
    const { ns, agent } = overlay.node(1);
    await agent.start();
    const dirs = [`--cni-conf-dir=${folder.at("none")}`];
    const { problems, of } = await diagnose(ns, dirs);
    expect(problems.filter((text) => !text.startsWith("cni-"))).toEqual([]);
    expect(of("device")).toEqual(["ok: flannel.1 is as it should be", "ok: flannel-v6.1 is as it should be"]);
    expect(of("mtu")).toEqual([expect.stringContaining("leaves 1430 to pods")]);
    await ns.sysctl("ipv6.conf.all.forwarding", 0);
    expect((await diagnose(ns, dirs)).of("ipv6-forwarding")).toEqual([
      expect.stringMatching(/^error: net\.ipv6\.conf\.all\.forwarding is 0/),
    ]);
  });
});
