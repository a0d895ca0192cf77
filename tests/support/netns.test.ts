import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import * as v from "valibot";
import { Netns, pair, removeNamespacesOfDeadRuns } from "./netns.ts";
import { describeInNamespaces } from "./requires.ts";
import { isAlive } from "./temp.ts";
import { eventually } from "./wait.ts";

/** A process that makes a namespace, starts a process in it, prints both, and waits. */
const HOLDER = `
  import { Netns } from ${JSON.stringify(import.meta.resolve("./netns.ts"))};
  const ns = new Netns();
  console.log(JSON.stringify({ path: ns.path, pid: ns.spawn(["sleep", "1000"]).pid }));
  setInterval(() => {}, 1000);
`;

const Held = v.object({ path: v.string(), pid: v.number() });

const isAsleep = (pid: number) =>
  eventually(() => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n", { within: 10_000, what: "sleep" });

async function startHolder() {
  const child = Bun.spawn([process.execPath, "-e", HOLDER], { stdout: "pipe", stderr: "inherit" });
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (!text.includes("\n")) continue;
    const held = v.parse(Held, JSON.parse(text));
    // Until then it is not in the namespace, and does not end with it.
    await isAsleep(held.pid);
    return { child, ...held };
  }
  throw new Error("the process that holds a namespace printed nothing");
}

describeInNamespaces("network namespaces for tests", () => {
  test("are apart from the host and gone at the end, with what runs in them", async () => {
    let ns: Netns;
    let pid: number;
    {
      using own = new Netns();
      ns = own;
      pid = own.spawn(["sleep", "1000"]).pid;
      expect(await own.exec(["ip", "-br", "link"])).toMatch(/^lo +UNKNOWN [^\n]*\n$/);
      await isAsleep(pid);
    }
    expect(existsSync(ns.path)).toBe(false);
    await eventually(() => !isAlive(pid), { within: 10_000, what: "the process has ended" });
    ns[Symbol.dispose]();
  });

  test("a failing command says which, where and why", async () => {
    using ns = new Netns();
    await expect(ns.exec(["ip", "link", "show", "absent0"])).rejects.toThrow(
      `ip link show absent0 in ${ns.name}: exit code 1: Device "absent0" does not exist.`,
    );
  });

  test("have kernel parameters of their own", async () => {
    const read = () => readFileSync("/proc/sys/net/ipv4/conf/all/rp_filter", "utf8");
    const host = read();
    using ns = new Netns();
    await ns.sysctl("ipv4.conf.all.rp_filter", host === "2\n" ? 1 : 2);
    expect(await ns.exec(["cat", "/proc/sys/net/ipv4/conf/all/rp_filter"])).toBe(host === "2\n" ? "1\n" : "2\n");
    expect(read()).toBe(host);
  });

  test("a pair joins two of them at once, by IPv4 and IPv6", async () => {
    using a = new Netns();
    using b = new Netns();
    const mac = "02:00:5e:00:53:01";
    await pair(
      { ns: a, name: "eth0", addresses: ["192.0.2.1/24", "2001:db8::1/64"], mac },
      { ns: b, name: "eth1", addresses: ["192.0.2.2/24", "2001:db8::2/64"] },
      { mtu: 1400 },
    );
    expect(await a.exec(["ip", "-br", "link", "show", "eth0"])).toContain(mac);
    expect(await b.exec(["ip", "link", "show", "eth1"])).toContain("mtu 1400");
    await a.exec(["ping", "-c", "1", "-W", "5", "192.0.2.2"]);
    await a.exec(["ping", "-c", "1", "-W", "5", "2001:db8::2"]);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("go when %s ends the process", async (signal) => {
    const { child, path, pid } = await startHolder();
    expect(existsSync(path)).toBe(true);
    child.kill(signal);
    await child.exited;
    expect(child.signalCode).toBe(signal);
    expect(existsSync(path)).toBe(false);
    await eventually(() => !isAlive(pid), { within: 10_000, what: "the process has ended" });
  });

  test("of a run that was killed go with the next run, those of a living one stay", async () => {
    using own = new Netns();
    const { child, path, pid } = await startHolder();
    removeNamespacesOfDeadRuns();
    expect(existsSync(path)).toBe(true);
    child.kill("SIGKILL");
    await child.exited;
    expect(existsSync(path)).toBe(true);
    removeNamespacesOfDeadRuns();
    expect(existsSync(path)).toBe(false);
    await eventually(() => !isAlive(pid), { within: 10_000, what: "the process has ended" });
    expect(existsSync(own.path)).toBe(true);
  });
});
