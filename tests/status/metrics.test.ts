import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Histogram } from "../../src/base/histogram.ts";
import { formatPrefix } from "../../src/net/prefix.ts";
import { EventLog } from "../../src/status/event-log.ts";
import type { Facts, ProbesFacts } from "../../src/status/facts.ts";
import { EACH_PEER_METRICS } from "../../src/status/metrics/each-peer.ts";
import { METRICS } from "../../src/status/metrics/table.ts";
import { exampleInput, exampleLease, exampleSubnet, IPV4, planned } from "../desired/examples.ts";
import { namesIn, samplesIn } from "../support/metrics.ts";
import { describeWithPromtool, promtool } from "../support/promtool.ts";
import { appOf, facts, NOW, programmed } from "./facts.ts";

/** What Prometheus 2 sends. */
const PROMETHEUS_ACCEPTS =
  "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

async function scraped(changes: Partial<Facts> = {}): Promise<string> {
  const response = await appOf(facts(changes)).request("/metrics");
  expect(response.status).toBe(200);
  return response.text();
}

const samples = async (changes: Partial<Facts> = {}) => samplesIn(await scraped(changes));

/** The labels that series of one peer have first. */
const labelsOf = (n: number, node = `node-${n}`) =>
  `peer="${node}",family="ipv4",subnet="${formatPrefix(exampleSubnet(4, n))}"`;

/** A node with so many peers, of which the first is down and the second has not been probed. */
function withPeers(count: number): Partial<Facts> {
  const input = exampleInput(
    IPV4,
    Array.from({ length: count }, (_, n) => exampleLease(IPV4, n + 1)),
  );
  const rtt = new Histogram([0.001, 0.01]);
  for (const value of [0.0005, 0.002, 0.5]) rtt.observe(value);
  const path = { sent: 10, received: 9, lastMs: 2, p50Ms: 2, p99Ms: 4, lastSuccessAt: NOW - 5_000 };
  const probes: ProbesFacts = {
    intervalMs: 10_000,
    everywhere: () => undefined,
    verdict: (key) => (key === "node-1" ? "overlayBlocked" : key === "node-2" ? "unknown" : "reachable"),
    of: (key) =>
      key === "node-2"
        ? undefined
        : {
            verdict: "reachable",
            overlay: key === "node-1" ? { sent: 10, received: 0 } : path,
            underlay: path,
            fullBytes: 1450,
          },
    totals: () => [{ family: 4, path: "overlay", sent: 5, rttSeconds: rtt.facts() }],
    troubled: () => ({ total: 1, of: count, first: [] }),
  };
  return {
    own: input.own,
    external: input.external,
    desired: planned(input),
    snapshot: { leases: [...input.leases], rejected: [], takenAt: NOW - 60_000 },
    probes,
  };
}

describe("the form", () => {
  test.each([
    [undefined, "text/plain; version=0.0.4; charset=utf-8"],
    ["*/*", "text/plain; version=0.0.4; charset=utf-8"],
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"],
    [PROMETHEUS_ACCEPTS, "application/openmetrics-text; version=1.0.0; charset=utf-8"],
    ["application/openmetrics-text;q=0.1,text/plain", "text/plain; version=0.0.4; charset=utf-8"],
  ])("for %p is %s", async (accept, contentType) => {
    const response = await appOf(facts()).request("/metrics", accept === undefined ? {} : { headers: { accept } });
    expect(response.headers.get("content-type")).toBe(contentType);
    const text = await response.text();
    expect(text.endsWith("# EOF\n")).toBe(contentType.startsWith("application/openmetrics"));
    // OpenMetrics has a counter's name without _total, its samples have it.
    const counter = contentType.startsWith("text") ? "tartan_loop_turns_total" : "tartan_loop_turns";
    expect(namesIn(text)).toContain(counter);
    expect(samplesIn(text).get("tartan_loop_turns_total")).toBe(1);
  });

  test.each(["text/plain", PROMETHEUS_ACCEPTS])("is compressed for whoever asks, as %p", async (accept) => {
    const headers = { accept, "accept-encoding": "gzip" };
    const response = await appOf(facts()).request("/metrics", { headers });
    expect(response.headers.get("content-encoding")).toBe("gzip");
    const text = new TextDecoder().decode(Bun.gunzipSync(await response.arrayBuffer()));
    expect(samplesIn(text).get("tartan_ready")).toBe(1);
  });

  test("has each metric of the table once, with its help and type, also before there is a value", async () => {
    const text = await scraped();
    expect(namesIn(text)).toEqual(Object.keys(METRICS));
    const helped = [...text.matchAll(/^# HELP (\S+) (.+)$/gm)];
    expect(helped.map(([, name]) => name)).toEqual(Object.keys(METRICS));
    expect(samplesIn(text).has("tartan_lease_snapshot_timestamp_seconds")).toBe(false);
  });
});

describeWithPromtool("Prometheus' promtool", () => {
  test("finds nothing wrong with names, types and labels, whatever they hold", async () => {
    const odd = exampleLease(IPV4, 3, { node: 'a "node" \\ of\nthree' });
    const { snapshot, ...rest } = withPeers(3);
    const leases = snapshot?.leases.map((lease) => (lease.key === odd.key ? odd : lease)) ?? [];
    const given = { ...rest, flags: { peerMetrics: true }, snapshot: { leases, rejected: [], takenAt: NOW } };
    const text = await scraped(given);
    expect(text).toContain('peer="a \\"node\\" \\\\ of\\nthree"');
    expect(await promtool(["check", "metrics"], text)).toEqual({ code: 0, output: "" });
    expect((await promtool(["check", "metrics"], "# TYPE x_total gauge\nx_total 1\n")).code).not.toBe(0);
  });
});

describe("what the agent knows", () => {
  test("is told as it is: readiness by condition, warnings, the loop, events", async () => {
    const events = new EventLog();
    for (const kind of ["repaired", "repaired", "sourceLost", "sourceBack"] as const)
      events.add({ kind, message: "x" });
    const found = await samples({
      events,
      problems: [{ condition: "device", message: "flannel.1: it is missing" }],
      networkWarnings: ["the MTU is large", "unknown key"],
      loop: { turns: 7, failuresInARow: 2, busySince: NOW - 1_500, lastTurnAt: NOW - 2_000 },
    });
    expect(Object.fromEntries(found)).toMatchObject({
      [`tartan_build_info{version="1.2.3",bun="${Bun.version}"}`]: 1,
      tartan_ready: 0,
      tartan_live: 1,
      'tartan_condition{condition="device"}': 0,
      'tartan_condition{condition="rules"}': 1,
      'tartan_warnings{condition="config"}': 2,
      'tartan_warnings{condition="cni"}': 0,
      tartan_loop_turns_total: 7,
      tartan_loop_failures_in_a_row: 2,
      tartan_loop_busy_seconds: 1.5,
      tartan_loop_last_turn_timestamp_seconds: (NOW - 2_000) / 1000,
      // Told twice, kept as one.
      'tartan_events_total{kind="repaired"}': 2,
      'tartan_events_total{kind="ready"}': 0,
      tartan_lease_source_losses_total: 1,
      tartan_lease_source_reconnects_total: 1,
    });
  });

  test("an agent that hangs is not live", async () => {
    const found = await samples({ loop: { turns: 1, failuresInARow: 0, busySince: NOW - 45_000 } });
    expect(found.get("tartan_live")).toBe(0);
  });

  test("leases and their source", async () => {
    const { own, snapshot } = withPeers(2);
    const out = {
      kind: "etcd",
      location: "http://a",
      contact: { lastContactAt: NOW - 61_000, error: new Error("x") },
    } as const;
    const rejected = [{ key: "n9", node: "n9", reason: "nonsense" }];
    const leases = snapshot?.leases ?? [];
    const found = await samples({
      ...(own === undefined ? {} : { own: { ...own, expiresAt: NOW + 1_000 } }),
      source: out,
      snapshot: { leases, rejected, takenAt: NOW - 60_000 },
      rejections: 4,
      leaseProblem: "it does not count",
    });
    expect(Object.fromEntries(found)).toMatchObject({
      'tartan_lease_source_up{kind="etcd"}': 0,
      tartan_lease_source_last_contact_timestamp_seconds: (NOW - 61_000) / 1000,
      'tartan_leases{state="used"}': 3,
      'tartan_leases{state="rejected"}': 1,
      tartan_leases_rejected_total: 4,
      tartan_own_lease_held: 1,
      tartan_own_lease_problem: 1,
      tartan_own_lease_expiry_timestamp_seconds: (NOW + 1_000) / 1000,
      'tartan_peers{state="leftOut"}': 1,
    });
  });

  test("the kernel: operations by kind from the first scrape on, durations as histograms", async () => {
    const { kernel } = facts();
    const applySeconds = new Histogram([0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 30]) applySeconds.observe(value);
    const found = await samples({
      ...withPeers(2),
      kernel: {
        ...kernel,
        ...{ driftsFound: 3, repaired: { "route-replace": 5 }, applySeconds: applySeconds.facts() },
        ...{ operations: { "link-add": 1 }, refused: { "neighbour-replace": 2 } },
      },
    });
    expect(Object.fromEntries(found)).toMatchObject({
      tartan_drift_found_total: 3,
      'tartan_drift_repaired_total{operation="route-replace"}': 5,
      'tartan_drift_repaired_total{operation="link-add"}': 0,
      'tartan_kernel_operations_total{operation="link-add"}': 1,
      'tartan_kernel_operation_failures_total{operation="neighbour-replace"}': 2,
      'tartan_apply_duration_seconds_bucket{le="0.1"}': 2,
      'tartan_apply_duration_seconds_bucket{le="1"}': 3,
      'tartan_apply_duration_seconds_bucket{le="+Inf"}': 4,
      tartan_apply_duration_seconds_count: 4,
      tartan_apply_duration_seconds_sum: 30.65,
      'tartan_desired_entries{kind="route"}': 2,
      'tartan_device_mtu_bytes{device="flannel.1",family="ipv4"}': 1450,
      'tartan_external_interface_mtu_bytes{interface="eth0"}': 1500,
    });
  });

  test("the rules, and this process", async () => {
    const found = await samples({
      rules: { ...facts().rules, inPlace: { 4: true, 6: false }, repaired: { "rule missing": 6 } },
    });
    expect(Object.fromEntries(found)).toMatchObject({
      'tartan_rules_info{mode="iptables",backend="iptables-nft",version="1.8.9"}': 1,
      'tartan_rules_in_place{family="ipv4"}': 1,
      'tartan_rules_in_place{family="ipv6"}': 0,
      tartan_rules_looks_total: 40,
      tartan_rules_forks_total: 9,
      'tartan_rules_repaired_total{kind="rule missing"}': 6,
      'tartan_rules_repaired_total{kind="jump missing"}': 0,
      tartan_rules_last_check_duration_seconds: 0.008,
    });
    expect(found.get("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(found.get("process_resident_memory_bytes")).toBeGreaterThan(1e7);
    expect(found.get("process_open_fds")).toBeGreaterThan(2);
    expect(found.get("process_max_fds")).toBeGreaterThanOrEqual(found.get("process_open_fds") ?? 0);
    expect(found.get("process_start_time_seconds")).toBe((await samples()).get("process_start_time_seconds") ?? 0);
  });

  test("peers by state and by verdict, and all probes together", async () => {
    expect(Object.fromEntries(await samples(withPeers(6)))).toMatchObject({
      'tartan_peers{state="down"}': 1,
      'tartan_peers{state="unknown"}': 1,
      'tartan_peers{state="up"}': 4,
      'tartan_peers{state="notProgrammed"}': 0,
      'tartan_probe_peers{family="ipv4",verdict="overlayBlocked"}': 1,
      'tartan_probe_peers{family="ipv4",verdict="reachable"}': 4,
      'tartan_probe_peers{family="ipv4",verdict="mtuTooSmall"}': 0,
      'tartan_probe_requests_total{family="ipv4",path="overlay"}': 5,
      'tartan_probe_replies_total{family="ipv4",path="overlay"}': 3,
      'tartan_probe_rtt_seconds_bucket{family="ipv4",path="overlay",le="0.01"}': 2,
      'tartan_probe_rtt_seconds_bucket{family="ipv4",path="overlay",le="+Inf"}': 3,
      tartan_probe_interval_seconds: 10,
    });
    const { probes: _, ...rest } = withPeers(6);
    const off = await samples(rest);
    expect([...off.keys()].filter((name) => name.startsWith("tartan_probe"))).toEqual([]);
    expect(off.get('tartan_peers{state="unknown"}')).toBe(6);
  });
});

test("a peer whose entry the kernel has lost is not programmed", async () => {
  const peers = [1, 2, 3].map((n) => exampleLease(IPV4, n));
  const { known, kernel } = programmed(IPV4, peers, { flags: { peerMetrics: true } });
  const states = (found: ReadonlyMap<string, number>, state: string) => found.get(`tartan_peers{state="${state}"}`);
  const before = await samples(known);
  expect([states(before, "unknown"), states(before, "notProgrammed")]).toEqual([3, 0]);
  const device = kernel.links.find(({ name }) => name === "flannel.1");
  kernel.deleteNeighbour(device?.index ?? 0, exampleSubnet(4, 2).address);
  const after = await samples(known);
  expect([states(after, "unknown"), states(after, "notProgrammed")]).toEqual([2, 1]);
  const isProgrammed = (n: number) => after.get(`tartan_peer_programmed{${labelsOf(n)}}`);
  expect([1, 2, 3].map(isProgrammed)).toEqual([1, 0, 1]);
});

describe("series of each peer", () => {
  test("are there once for each lease, also where a node has two", async () => {
    const came = [exampleLease(IPV4, 1), exampleLease(IPV4, 2, { node: "node-1" })];
    const { known } = programmed(IPV4, came, { flags: { peerMetrics: true } });
    const found = await samples(known);
    expect(found.get(`tartan_peer_programmed{${labelsOf(1)}}`)).toBe(1);
    expect(found.get(`tartan_peer_programmed{${labelsOf(2, "node-1")}}`)).toBe(1);
  });

  test("are there only when asked for: without them their number does not grow with the cluster", async () => {
    const few = await samples(withPeers(3));
    expect([...(await samples(withPeers(300))).keys()].sort()).toEqual([...few.keys()].sort());
    const asked = await scraped({ ...withPeers(3), flags: { peerMetrics: true } });
    expect(namesIn(asked)).toEqual([...Object.keys(METRICS), ...Object.keys(EACH_PEER_METRICS)]);
  });

  test("say what is known of one", async () => {
    const found = await samples({ ...withPeers(3), flags: { peerMetrics: true } });
    const of = (n: number) =>
      Object.fromEntries(
        [...found]
          .filter(([name]) => name.includes(labelsOf(n)))
          .map(([name, value]) => [name.replace(labelsOf(n), "of"), value]),
      );
    expect(of(3)).toEqual({
      "tartan_peer_up{of}": 1,
      ...Object.fromEntries(
        ["overlay", "underlay"].flatMap((path) => [
          [`tartan_peer_loss_ratio{of,path="${path}"}`, expect.closeTo(0.1)],
          [`tartan_peer_rtt_seconds{of,path="${path}"}`, 0.002],
          [`tartan_peer_last_success_timestamp_seconds{of,path="${path}"}`, (NOW - 5_000) / 1000],
        ]),
      ),
    });
    expect(of(1)).toMatchObject({
      "tartan_peer_up{of}": 0,
      'tartan_peer_loss_ratio{of,path="overlay"}': 1,
    });
    // Not probed yet: it is neither up nor down.
    expect(of(2)).toEqual({});
  });
});

test("nothing of prom-client is loaded before the first scrape", async () => {
  const script = `
    import { appOf, facts } from ${JSON.stringify(join(import.meta.dir, "facts.ts"))};
    const loaded = () => Object.keys(require.cache).some((path) => path.includes("/prom-client/"));
    const app = appOf(facts());
    await app.request("/readyz");
    const before = loaded();
    await (await app.request("/metrics")).text();
    console.log(JSON.stringify([before, loaded()]));`;
  const child = Bun.spawn([process.execPath, "--eval", script], { cwd: import.meta.dir, stdout: "pipe" });
  expect(JSON.parse(await child.stdout.text())).toEqual([false, true]);
});
