import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { versionOf } from "../../scripts/build/version.ts";
import { IMAGE } from "../../scripts/image/reference.ts";
import { Report } from "../../src/cli/doctor/report.ts";
import { Containerd, describeWithContainerd } from "../support/containerd.ts";
import { BUILD_TIMEOUT_MS, buildImage } from "../support/image.ts";
import { Netns, pair } from "../support/netns.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** What containerd gives a container by itself, beside NET_RAW. */
const DEFAULTS =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";
/** By the numbers of their bits: linux/capability.h. */
const CAPABILITIES = { NET_ADMIN: 12, NET_RAW: 13 };
const SECCOMP_FILTER = 2;
setDefaultTimeout(120_000);

const architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** As the manifest has it: these capabilities and no more, a root file system that can't be written, RuntimeDefault. */
const confined = [
  "--read-only",
  "--seccomp",
  ...DEFAULTS.split(" ").map((name) => `--cap-drop=CAP_${name}`),
  "--cap-add=CAP_NET_ADMIN",
];

const bind = (from: string, to: string, mode = "rw") => `--mount=type=bind,src=${from},dst=${to},options=rbind:${mode}`;

const HINT = ["iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"];

const Readiness = v.object({ ready: v.boolean(), reasons: v.array(v.unknown()) });

describeWithContainerd("the image in containerd", () => {
  let containerd: Containerd;
  const folder = useTemporaryFolder();
  beforeAll(async () => {
    containerd = await Containerd.start();
    await containerd.ctr("images", "import", await buildImage(architecture));
  }, BUILD_TIMEOUT_MS);
  afterAll(async () => containerd?.[Symbol.asyncDispose]());

  /** Runs a command in the image, on a network of its own or this one. */
  const run = (id: string, options: readonly string[], ...command: readonly string[]) =>
    containerd.ctr("run", "--rm", ...options, IMAGE, id, ...command);

  test("has the manifests' name after an import", async () => {
    expect((await containerd.ctr("images", "list", "--quiet")).trim().split("\n")).toEqual([IMAGE]);
  });

  test("answers by all of its names", async () => {
    const version = `${await versionOf(ROOT)}\n`;
    for (const name of ["/opt/bin/flanneld", "/flannel", "flanneld", "tartan"]) {
      expect(await run("version", [], name, "--version")).toBe(version);
    }
  });

  test.each(["sh", "/bin/sh", "bash", "busybox", "dpkg", "apt-get"])("has no %s", async (command) => {
    await expect(run("none", [], command)).rejects.toThrow(/not found|no such file/);
  });

  test("writes and reads rules by both kinds of iptables, confined", async () => {
    using ns = new Netns();
    const lock = folder.at("xtables.lock");
    writeFileSync(lock, "");
    const options = [...confined, `--with-ns=network:${ns.path}`, bind(lock, "/run/xtables.lock")];
    for (const kind of ["legacy", "nft"]) {
      for (const base of ["iptables", "ip6tables"]) {
        const rule = ["POSTROUTING", "-m", "comment", "--comment", kind, "-j", "MASQUERADE", "--random-fully"];
        await run("add", options, `${base}-${kind}`, "-t", "nat", "-A", ...rule);
        const saved = await run("save", options, `${base}-${kind}-save`, "-t", "nat");
        expect(saved).toContain(`-A POSTROUTING -m comment --comment ${kind} -j MASQUERADE --random-fully`);
      }
    }
  });

  test.each([
    ["nftables", true, [], ["nft", "list", "ruleset"], "table ip flannel-ipv4"],
    ["iptables-nft", false, [], ["iptables-nft-save", "-t", "nat"], ":FLANNEL-POSTRTG "],
    // kubelet's hint that this host has the legacy one.
    ["iptables-legacy", false, [HINT], ["iptables-legacy-save", "-t", "nat"], ":FLANNEL-POSTRTG "],
  ] as const)(
    "the agent becomes ready, confined, and makes its device and its rules in %s",
    async (name, EnableNFTables, before, look, seen) => {
      using ns = new Netns();
      using other = new Netns();
      await pair({ ns, name: "eth0", addresses: ["192.0.2.1/24"] }, { ns: other, name: "eth0" });
      await ns.sysctl("ipv4.ip_forward", 1);
      for (const command of before) await ns.exec(command);
      const at = (file: string) => folder.at(name, file);
      for (const part of ["", "run", "store"]) mkdirSync(at(part));
      writeFileSync(at("xtables.lock"), "");
      const netConf = { Network: "10.244.0.0/16", EnableNFTables, Backend: { Type: "vxlan" } };
      writeFileSync(at("net-conf.json"), JSON.stringify(netConf));
      const agent = containerd.spawnCtr(
        ...[
          "run",
          "--rm",
          ...confined,
          `--with-ns=network:${ns.path}`,
          "--env=NODE_NAME=n1",
          `--pid-file=${at("pid")}`,
        ],
        ...[bind(at("run"), "/run/flannel"), bind(at("store"), "/var/lib/tartan")],
        bind(at("xtables.lock"), "/run/xtables.lock"),
        bind(at("net-conf.json"), "/etc/kube-flannel/net-conf.json", "ro"),
        ...[IMAGE, name, "/opt/bin/flanneld", "--lease-store=/var/lib/tartan/leases.db", "--iface=eth0", "--ip-masq"],
        "--debug-addr=unix:/run/flannel/agent.sock",
        "--debug-socket=/run/flannel/debug.sock",
      );
      const log = Promise.all([agent.stdout.text(), agent.stderr.text()]);
      try {
        const ready = async () => {
          const answer = await fetch("http://agent/readyz", { unix: at("run/agent.sock") });
          return v.parse(Readiness, await answer.json()).ready;
        };
        await eventually(() => ready(), { within: 60_000, what: "the agent in the container is ready" });
        expect(await ns.exec(["ip", "-d", "link", "show", "flannel.1"])).toContain("vxlan id 1 ");
        expect(await ns.exec([...look])).toContain(seen);
        expect(readFileSync(at("run/subnet.env"), "utf8")).toContain("FLANNEL_NETWORK=10.244.0.0/16\n");
        expect(existsSync(at("store/leases.db"))).toBe(true);
        expectConfined(Number(readFileSync(at("pid"), "utf8")));
        const doctor = ["tartan", "doctor", "--output=json"];
        const report = await containerd.ctr("tasks", "exec", "--exec-id=doctor", name, ...doctor);
        const { worst, counts, findings } = v.parse(Report, JSON.parse(report));
        expect(findings.filter(({ status }) => status === "error" || status === "warning")).toEqual([]);
        expect(worst).toBe("ok");
        // As much as a pod of the DaemonSet may see.
        expect(counts.ok).toBeGreaterThan(counts.skipped);
      } catch (cause) {
        agent.kill("SIGTERM");
        throw new Error(`its log:\n${(await log).join("")}`, { cause });
      }
      agent.kill("SIGTERM");
      expect(await agent.exited).toBe(0);
      expect(await ns.exec(["ip", "link", "show", "flannel.1"])).toContain("flannel.1");
    },
  );
});

function expectConfined(pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\w+)$`, "m").exec(status)?.[1] ?? "";
  const expected = Object.values(CAPABILITIES).reduce((mask, bit) => mask + 2 ** bit, 0);
  for (const set of ["CapEff", "CapPrm", "CapBnd"]) expect(Number.parseInt(field(set), 16)).toBe(expected);
  expect(Number(field("Seccomp"))).toBe(SECCOMP_FILTER);
  const options = /^\S+ \/ \S+ (\S+)/m.exec(readFileSync(`/proc/${pid}/mounts`, "utf8"))?.[1]?.split(",");
  expect(options).toContain("ro");
}
