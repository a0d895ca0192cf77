import { join } from "node:path";
import * as v from "valibot";
import { CniRunner, environmentOf, type Json, type Pod, sampleConflist } from "../support/cni.ts";
import { Netns } from "../support/netns.ts";
import { round, say } from "./measure.ts";

/** pods that are added and deleted one after the other, by either way in turn */
const PODS = 40;

const Record = v.looseObject({ type: v.string() });

/**
 * What the CNI plugin costs a pod: ADD and DEL by it beside its delegate called with the same configuration. Both times have
 * the same nsenter in them.
 */
export async function benchCni(folder: string): Promise<object> {
  say(`${PODS} pods by the CNI plugin, and by its delegate alone`);
  using node = new Netns();
  using ns = new Netns();
  const place = join(folder, "cni");
  const runner = new CniRunner(node, place);
  runner.writeSubnetEnv({
    FLANNEL_NETWORK: "10.244.0.0/16",
    FLANNEL_SUBNET: "10.244.7.1/24",
    FLANNEL_MTU: 1450,
    FLANNEL_IPMASQ: "true",
  });
  const list = sampleConflist(place);
  const plugin = { ...runner.flannelConf(list), cniVersion: list.cniVersion };
  const pod: Pod = { containerId: "bench", netns: ns.path };
  // The delegate's configuration is what the plugin keeps of it.
  await runner.call("ADD", "flannel", plugin, environmentOf(pod));
  const delegate = v.parse(Record, await Bun.file(join(place, "flannel", pod.containerId)).json());
  await runner.call("DEL", "flannel", plugin, environmentOf(pod));

  const times = {
    add: { plugin: [] as number[], delegate: [] as number[] },
    del: { plugin: [] as number[], delegate: [] as number[] },
  };
  const timed = async (into: number[], verb: string, type: string, conf: Json): Promise<void> => {
    const started = performance.now();
    await runner.call(verb, type, conf, environmentOf(pod));
    into.push(performance.now() - started);
  };
  for (let number = 0; number < PODS; number++) {
    await timed(times.add.plugin, "ADD", "flannel", plugin);
    await timed(times.del.plugin, "DEL", "flannel", plugin);
    await timed(times.add.delegate, "ADD", delegate.type, delegate);
    await timed(times.del.delegate, "DEL", delegate.type, delegate);
  }
  return { pods: PODS, add: compare(times.add), del: compare(times.del) };
}

/** Medians in milliseconds, and the difference. */
function compare({ plugin, delegate }: { plugin: number[]; delegate: number[] }): object {
  const [ours, alone] = [median(plugin), median(delegate)];
  return { pluginMs: round(ours), delegateAloneMs: round(alone), overMs: round(ours - alone) };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
