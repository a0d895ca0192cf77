import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { healthApp } from "../../src/status/health.ts";
import { listen } from "../../src/status/listen.ts";
import { readiness, stall } from "../../src/status/readiness.ts";
import { prefix } from "../lease/samples.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { appOf, facts, NOW } from "./facts.ts";

const failure = (n: number) => ({
  operation: "replace route",
  object: `10.244.${n}.0/24`,
  error: "ENETDOWN",
  message: `replace route 10.244.${n}.0/24: ENETDOWN`,
});

test("ready says why not; an outage of the lease source and refused peers are warnings only", () => {
  expect(readiness(facts())).toEqual({ ready: true, reasons: [], warnings: [] });
  const problem = { condition: "device", message: "flannel.1: it is missing" } as const;
  expect(readiness(facts({ problems: [problem] }))).toMatchObject({ ready: false, reasons: [problem] });
  const out = {
    kind: "embedded" as const,
    location: "/x/leases.db",
    contact: { lastContactAt: NOW - 61_000, error: new Error("file is not a database") },
  };
  const { ready, warnings } = readiness(facts({ source: out }));
  expect(ready).toBe(true);
  expect(warnings).toEqual([
    { condition: "leaseSource", message: "embedded /x/leases.db: last contact 61 s ago: file is not a database" },
  ]);
  const lease = (leaseProblem: string) => readiness(facts({ source: out, leaseProblem })).warnings;
  expect(lease("it does not count")).toEqual([...warnings, { condition: "lease", message: "it does not count" }]);
  expect(lease("file is not a database")).toEqual(warnings);
  const cniConf = { source: "/s", file: "/f", written: false, looks: 1, problem: "/s can't be read" };
  expect(readiness(facts({ cniConf }))).toEqual({
    ready: true,
    reasons: [],
    warnings: [{ condition: "cni", message: "/s can't be read" }],
  });
  const blocked = readiness(facts({ rules: { ...facts().rules, warnings: ["chain FORWARD drops"] } }));
  expect(blocked).toEqual({
    ready: true,
    reasons: [],
    warnings: [{ condition: "rules", message: "chain FORWARD drops" }],
  });
  const many = readiness(
    facts({ kernel: { ...facts().kernel, failures: Array.from({ length: 13 }, (_, n) => failure(n)) } }),
  );
  expect(many.ready).toBe(true);
  expect(many.warnings).toHaveLength(11);
  expect(many.warnings[10]?.message).toBe("3 more operations failed");
});

test("a record that turned bad is told, and whether its last good lease stays in use", () => {
  const subnets = { 4: prefix("10.244.1.0/24") };
  const lease = { key: "n2", node: "n2", subnets, publicIPs: {}, backendType: "vxlan", vteps: {} };
  const rejected = ["n2", "n3"].map((key) => ({ key, node: key, reason: "nonsense" }));
  expect(readiness(facts({ snapshot: { leases: [lease], rejected, takenAt: NOW } })).warnings).toEqual([
    { condition: "peers", message: "lease n2 of n2 stays as it was: nonsense" },
    { condition: "peers", message: "lease n3 of n3 is left out: nonsense" },
  ]);
});

test("live as long as no turn has got stuck", () => {
  expect(stall(facts())).toBeUndefined();
  expect(stall(facts({ loop: { turns: 1, failuresInARow: 0, busySince: NOW - 10_000 } }))).toBeUndefined();
  expect(stall(facts({ loop: { turns: 1, failuresInARow: 0, busySince: NOW - 45_000 } }))).toContain("45 s");
});

test("/healthz and /readyz answer with a status for probes and JSON for people", async () => {
  const stuck = facts({
    loop: { turns: 1, failuresInARow: 0, busySince: NOW - 45_000 },
    problems: [{ condition: "lease", message: "none yet" }],
  });
  for (const [given, path, status, body] of [
    [facts(), "/healthz", 200, { live: true }],
    [stuck, "/healthz", 503, { live: false, message: expect.any(String) }],
    [facts(), "/readyz", 200, { ready: true, reasons: [], warnings: [] }],
    [stuck, "/readyz", 503, { ready: false, reasons: [{ condition: "lease", message: "none yet" }], warnings: [] }],
    [facts(), "/nothing", 404, { error: "nothing is at /nothing" }],
  ] as const) {
    const response = await healthApp(() => given).request(path);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual(body);
  }
  expect((await healthApp(() => facts()).request("/debug/state")).status).toBe(404);
});

test("an error while answering is 500 with its message, and is no end", async () => {
  const app = healthApp(() => {
    throw new Error("no facts");
  });
  const response = await app.request("/readyz");
  expect(response.status).toBe(500);
  expect(await response.json()).toEqual({ error: "no facts" });
});

test("/debug/state is there before anything else is known", async () => {
  const response = await appOf(facts()).request("/debug/state");
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({
    version: "1.2.3",
    node: "n1",
    startedAt: new Date(NOW - 5_000).toISOString(),
    uptimeMs: 5_000,
    config: { network: null, backend: null },
    externalInterface: null,
    lease: null,
    leaseCounts: { used: 0, rejected: 0, rejectedSinceStart: 0 },
    peerCounts: { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 },
    desired: null,
    lastApply: null,
    rules: {
      backend: "iptables-nft",
      inPlace: { ipv4: true },
      lastCheck: { at: new Date(NOW - 1_000).toISOString(), durationMs: 8 },
      lastWrite: null,
    },
    leaseSource: { kind: "embedded", location: "/x/leases.db", error: null },
  });
});

test("a taken port is tried again, and served once it is free", async () => {
  const taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("old") });
  const port = taken.port ?? 0;
  const listener = listen({ kind: "tcp", host: "127.0.0.1", port }, () => new Response("new"), "--debug-addr");
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("old");
  await taken.stop(true);
  await eventually(async () => (await (await fetch(`http://127.0.0.1:${port}/`)).text()) === "new", {
    within: 10_000,
    what: "the new one answers",
  });
  await listener.stop();
  expect(await fetch(`http://127.0.0.1:${port}/`).catch(() => "closed")).toBe("closed");
});

test("a socket that a killed agent left is replaced; a file of another kind is left alone", async () => {
  using folder = new TemporaryFolder();
  const path = folder.at("debug.sock");
  const killed = Bun.spawn(
    [process.execPath, "-e", `Bun.serve({ unix: ${JSON.stringify(path)}, fetch: () => new Response("old") })`],
    { stdout: "ignore" },
  );
  await eventually(async () => (await fetch("http://x/", { unix: path })).ok, {
    within: 10_000,
    what: "the first one answers",
  });
  killed.kill("SIGKILL");
  await killed.exited;
  const listener = listen({ kind: "unix", path }, () => new Response("new"), "--debug-addr");
  await eventually(async () => (await (await fetch("http://x/", { unix: path })).text()) === "new", {
    within: 10_000,
    what: "the second one answers",
  });
  await listener.stop();
  expect(await Bun.file(path).exists()).toBe(false);
  writeFileSync(path, "precious");
  const refused = listen({ kind: "unix", path }, () => new Response("new"), "--debug-addr");
  await refused.stop();
  expect(await Bun.file(path).text()).toBe("precious");
});
