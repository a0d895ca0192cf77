import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { EACH_PEER_METRICS } from "../../src/status/metrics/each-peer.ts";
import { METRICS } from "../../src/status/metrics/table.ts";
import { makePeer, putPeers } from "../bench/peers.ts";
import { metricNames, unknownMetrics } from "../manifests/monitoring/metric-names.ts";
import { MANIFESTS } from "../manifests/objects.ts";
import { openStore, type TestAgent } from "../support/agent.ts";
import { namesIn, samplesIn } from "../support/metrics.ts";
import { Overlay } from "../support/overlay.ts";
import { describeWithPrometheus, Prometheus } from "../support/prometheus.ts";
import { describeWithPromtool, promtool } from "../support/promtool.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** Where the first node's agent listens for Prometheus, as the manifests have it. */
const ADDRESS = "192.0.2.1:8285";
const FLAGS = ["--probe-interval=1", "--ip-masq"];
/** the bound for a scrape with 5,000 peers, in milliseconds */
const SCRAPE_MS = 50;

const scrape = async (agent: TestAgent): Promise<string> => (await agent.fetch("/metrics")).text();
const sample = async (agent: TestAgent, name: string): Promise<number> =>
  samplesIn(await scrape(agent)).get(name) ?? Number.NaN;

describeInNamespaces("the metrics of a running agent", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);

  beforeAll(async () => {
    await overlay.create(2, undefined, FLAGS);
    overlay.node(1).agent.flags = [...FLAGS, `--debug-addr=[192.0.2.1]:8285`];
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const agent = () => overlay.node(1).agent;

  test("are those that alerts and dashboard ask for", async () => {
    const names = namesIn(await scrape(agent()));
    expect(names).toEqual(Object.keys(METRICS));
    const rules = await Bun.file(join(MANIFESTS, "monitoring", "rules.yml")).text();
    const dashboard = await Bun.file(join(MANIFESTS, "monitoring", "dashboard.json")).text();
    const Rules = v.object({ groups: v.array(v.object({ rules: v.array(v.object({ expr: v.string() })) })) });
    const asked = v.parse(Rules, Bun.YAML.parse(rules)).groups.flatMap((group) => group.rules.map(({ expr }) => expr));
    const shown = [...dashboard.matchAll(/"expr": "((?:[^"\\]|\\.)*)"/g)].map(([, expr = ""]) =>
      JSON.parse(`"${expr}"`),
    );
    const all = [...asked, ...v.parse(v.array(v.string()), shown)].flatMap(metricNames);
    expect(all.length).toBeGreaterThan(40);
    expect(unknownMetrics(all, names)).toEqual([]);
  });

  test("say that all is well, of which the peer's probes are a part", async () => {
    await eventually(async () => (await sample(agent(), 'tartan_peers{state="up"}')) === 1, {
      within: 30_000,
      what: "the peer is up",
    });
    const found = samplesIn(await scrape(agent()));
    expect(Object.fromEntries(found)).toMatchObject({
      ...{ tartan_ready: 1, tartan_live: 1, tartan_kernel_settled: 1, tartan_own_lease_held: 1 },
      'tartan_leases{state="used"}': 2,
      'tartan_lease_source_up{kind="embedded"}': 1,
      'tartan_rules_in_place{family="ipv4"}': 1,
      'tartan_kernel_operations_total{operation="route-replace"}': 1,
      'tartan_desired_entries{kind="forwarding"}': 1,
      'tartan_probe_peers{family="ipv4",verdict="reachable"}': 1,
    });
    expect(found.get("tartan_apply_duration_seconds_count")).toBeGreaterThanOrEqual(1);
    expect(found.get("tartan_lease_follow_duration_seconds_count")).toBeGreaterThanOrEqual(1);
    expect(found.get('tartan_probe_replies_total{family="ipv4",path="overlay"}')).toBeGreaterThan(0);
    expect(found.get('tartan_probe_rtt_seconds_count{family="ipv4",path="underlay"}')).toBeGreaterThan(0);
    expect(found.get('tartan_events_total{kind="ready"}')).toBe(1);
  });

  test("count a deleted route that was mended, and nothing ever goes down", async () => {
    const before = samplesIn(await scrape(agent()));
    await overlay.node(1).ns.exec(["ip", "route", "flush", "dev", "flannel.1"]);
    const mended = 'tartan_drift_repaired_total{operation="route-replace"}';
    await eventually(async () => (await sample(agent(), mended)) > (before.get(mended) ?? 0), {
      within: 15_000,
      what: "the mended route is counted",
    });
    const text = await scrape(agent());
    const after = samplesIn(text);
    expect(after.get("tartan_drift_found_total")).toBeGreaterThan(before.get("tartan_drift_found_total") ?? 0);
    expect(after.get('tartan_events_total{kind="repaired"}')).toBeGreaterThan(0);
    const counters = [...text.matchAll(/^# TYPE (\S+) (?:counter|histogram)$/gm)].map(([, name = ""]) => name);
    expect(counters.length).toBeGreaterThan(15);
    for (const [name, value] of before) {
      const metric = name.replace(/\{.*/, "");
      if (!counters.includes(metric) && !counters.includes(metric.replace(/_(bucket|sum|count)$/, ""))) continue;
      expect(after.get(name)).toBeGreaterThanOrEqual(value);
    }
  });

  test("count a lease that makes no sense, as long as it is there", async () => {
    using store = openStore(overlay.store);
    store.run("INSERT INTO leases (key, value, node, created_at, expires_at) VALUES ('nonsense', '{}', NULL, 1, NULL)");
    const rejected = (count: number) =>
      eventually(async () => (await sample(agent(), 'tartan_leases{state="rejected"}')) === count, {
        within: 15_000,
        what: `${count} leases are rejected`,
      });
    await rejected(1);
    expect(await sample(agent(), "tartan_leases_rejected_total")).toBe(1);
    expect(await sample(agent(), 'tartan_warnings{condition="peers"}')).toBe(1);
    store.run("DELETE FROM leases WHERE key = 'nonsense'");
    await rejected(0);
    expect(await sample(agent(), "tartan_leases_rejected_total")).toBe(1);
  });

  describeWithPromtool("held against promtool", () => {
    test("have nothing wrong with them", async () => {
      expect(await promtool(["check", "metrics"], await scrape(agent()))).toEqual({ code: 0, output: "" });
    });
  });

  describeWithPrometheus("scraped by Prometheus at the node's address", () => {
    test("arrive, and its rules see what is wrong", async () => {
      await using prometheus = await Prometheus.start(overlay.node(1).ns, folder.at("prometheus"), {
        targets: { n1: ADDRESS },
        rules: await Bun.file(join(MANIFESTS, "monitoring", "rules.yml")).text(),
      });
      const settled = async (query: string, value: number) =>
        eventually(async () => (await prometheus.value(query)) === value, {
          within: 40_000,
          what: `${query} is ${value}`,
        });
      await settled('up{job="tartan",instance="n1"}', 1);
      await settled('tartan_peers{state="up"}', 1);
      await settled("histogram_quantile(1, tartan_apply_duration_seconds_bucket) > bool 0", 1);
      await settled('sum(ALERTS{alertname!="TartanNoAgents"}) or vector(0)', 0);
      await overlay.node(2).agent.stop();
      // The node itself still answers.
      await overlay.node(2).ns.exec(["ip", "link", "set", "flannel.1", "down"]);
      await settled('tartan_probe_peers{verdict="overlayBlocked"}', 1);
      await settled('count(ALERTS{alertname="TartanOverlayBlocked",instance="n1",family="ipv4"})', 1);
      await overlay.node(2).agent.start();
    });
  });

  test("have series of the peers for whoever asks", async () => {
    await agent().stop();
    agent().flags = [...FLAGS, "--peer-metrics"];
    await agent().start();
    const subnet = (await agent().leases()).find(({ node }) => node === "n2")?.ipv4?.subnet;
    const labels = `peer="n2",family="ipv4",subnet="${subnet}"`;
    await eventually(async () => (await sample(agent(), `tartan_peer_up{${labels}}`)) === 1, {
      within: 30_000,
      what: "the peer is up",
    });
    const text = await scrape(agent());
    expect(namesIn(text)).toEqual([...Object.keys(METRICS), ...Object.keys(EACH_PEER_METRICS)]);
    const found = samplesIn(text);
    expect(found.get(`tartan_peer_programmed{${labels}}`)).toBe(1);
    expect(found.get(`tartan_peer_loss_ratio{${labels},path="overlay"}`)).toBeLessThan(1);
    expect(found.get(`tartan_peer_rtt_seconds{${labels},path="underlay"}`)).toBeGreaterThan(0);
  });
});

describeInNamespaces("the metrics with 5,000 peers", () => {
  const overlay = new Overlay(useTemporaryFolder().path);
  afterAll(() => overlay[Symbol.dispose]());

  test("are given fast, however many peers there are", async () => {
    await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } });
    await overlay.start();
    const { agent } = overlay.node(1);
    using store = openStore(overlay.store);
    putPeers(
      store,
      Array.from({ length: 5_000 }, (_, number) => makePeer(256 + number)),
    );
    await agent.settled(5_001, 60_000);
    // The first one loads what it needs. Later ones are the agent's usual work, which others on this machine may hold up.
    const length = (await scrape(agent)).length;
    expect(length).toBeLessThan(60_000);
    await eventually(
      async () => {
        const started = performance.now();
        await scrape(agent);
        return performance.now() - started < SCRAPE_MS;
      },
      { within: 20_000, what: `a scrape takes less than ${SCRAPE_MS} ms` },
    );
    expect(await sample(agent, 'tartan_leases{state="used"}')).toBe(5_001);
  });
});
