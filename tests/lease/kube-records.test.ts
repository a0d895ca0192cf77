import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { annotationNames } from "../../src/lease/kube-annotations.ts";
import type { KubeNode } from "../../src/lease/kube-proto.ts";
import { NodeRecords } from "../../src/lease/kube-records.ts";
import { buildSnapshot } from "../../src/lease/snapshot.ts";
import { NETWORK } from "./samples.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const NAMES = annotationNames("flannel.alpha.coreos.com");
const DATA = `${PREFIX}backend-data`;
const OVERWRITE = `${PREFIX}public-ip-overwrite`;

function annotationsOf(n: number): Record<string, string> {
  return {
    [DATA]: `{"VNI":1,"VtepMAC":"02:00:00:00:00:0${n}"}`,
    [`${PREFIX}backend-type`]: "vxlan",
    [`${PREFIX}public-ip`]: `172.31.0.${n}`,
    [`${PREFIX}kube-subnet-manager`]: "true",
  };
}

/** Node `n` as a list has it; as a watch tells it, the podCIDRs are missing. */
function nodeOf(n: number, version: number, changes: Partial<KubeNode> = {}): KubeNode {
  return {
    name: `n${n}`,
    uid: `uid-${n}`,
    resourceVersion: `${version}`,
    createdAt: n * 1000,
    annotations: annotationsOf(n),
    podCIDRs: [`10.244.${n}.0/24`],
    ...changes,
  };
}

const watched = (n: number, version: number, changes: Partial<KubeNode> = {}) =>
  nodeOf(n, version, { podCIDRs: [], ...changes });

function recordsOf(...nodes: KubeNode[]): NodeRecords {
  const records = new NodeRecords(NAMES, {
    is: (name) => name === "own",
    trouble: ({ annotations: { [OVERWRITE]: asked } }) =>
      asked ? { reason: `asks for ${asked}`, toPublish: asked !== "nonsense" } : undefined,
  });
  for (const node of nodes) records.put(node);
  return records;
}

const seen = (records: NodeRecords) => {
  const { leases, rejected } = buildSnapshot(records.candidates, NETWORK, 0);
  return { leases: leases.map(({ key }) => key), rejected: rejected.map(({ key, reason }) => `${key}: ${reason}`) };
};

describe("news of a Node", () => {
  test("that say nothing new are no change, and the lease is the same object", () => {
    const records = recordsOf(nodeOf(1, 1), nodeOf(2, 2));
    const { version, candidates } = records;
    for (let heartbeat = 3; heartbeat < 20; heartbeat++) records.put(watched(1, heartbeat));
    expect(records.version).toBe(version);
    expect(records.candidates).toBe(candidates);
    records.put(watched(2, 21, { annotations: { ...annotationsOf(2), [`${PREFIX}public-ip`]: "172.31.0.99" } }));
    expect(records.version).toBeGreaterThan(version);
    expect(records.candidates[0]).toBe(candidates[0]);
  });

  test("that are older than what is known are ignored, by number and not by text", () => {
    const records = recordsOf(nodeOf(1, 100));
    records.put(watched(1, 99, { annotations: {} }));
    expect(seen(records).leases).toEqual(["n1"]);
    records.put(watched(1, 101, { annotations: {} }));
    expect(seen(records).rejected).toHaveLength(1);
  });

  test("whatever their order, the newest one decides", () => {
    const versions = fc.uniqueArray(fc.integer({ min: 1, max: 2000 }), { minLength: 1 });
    fc.assert(
      fc.property(versions, (order) => {
        const records = new NodeRecords(NAMES, {
          is: () => false,
          trouble: () => ({ reason: "never asked", toPublish: true }),
        });
        for (const version of order) {
          const annotations = {
            ...annotationsOf(1),
            [`${PREFIX}public-ip`]: `172.31.${version >> 8}.${version & 255}`,
          };
          records.put(nodeOf(1, version, { annotations }));
        }
        const newest = Math.max(...order);
        const [candidate] = records.candidates;
        expect(candidate?.rejected === undefined && candidate?.lease.publicIPs[4]).toBe(
          `172.31.${newest >> 8}.${newest & 255}` as never,
        );
      }),
    );
  });
});

describe("a podCIDR", () => {
  test("is asked for where the Node has published something, and kept while it is the same Node", () => {
    const records = recordsOf(watched(1, 1), watched(2, 2, { annotations: {} }));
    expect([records.lacksPodCIDR("n1"), records.lacksPodCIDR("n2"), records.lacksPodCIDR("n3")]).toEqual([
      true,
      false,
      false,
    ]);
    expect(seen(records)).toEqual({ leases: [], rejected: [] });
    records.refresh(nodeOf(1, 1));
    expect(records.lacksPodCIDR("n1")).toBe(false);
    records.put(watched(1, 5));
    expect(seen(records).leases).toEqual(["n1"]);
  });

  test("that is not assigned yet is told, and asked for again", () => {
    const records = recordsOf(watched(1, 1));
    records.refresh(watched(1, 1));
    expect(seen(records).rejected).toEqual(["n1: the Node has no podCIDR yet"]);
    expect(records.lacksPodCIDR("n1")).toBe(true);
    records.put(watched(1, 2));
    records.refresh(nodeOf(1, 2));
    expect(seen(records)).toEqual({ leases: ["n1"], rejected: [] });
  });

  test("of a Node that is gone, or is another one by now, is of no use", () => {
    const records = recordsOf(watched(1, 1, { uid: "new" }));
    records.refresh(nodeOf(1, 2));
    records.refresh(nodeOf(2, 2));
    expect(seen(records).leases).toEqual([]);
    records.refresh(nodeOf(1, 2, { uid: "new", podCIDRs: ["10.244.77.0/24"] }));
    expect(buildSnapshot(records.candidates, NETWORK, 0).leases[0]?.subnets[4]?.address).toBe("10.244.77.0" as never);
  });
});

describe("annotations that turn bad", () => {
  const bad = (n: number, version: number) =>
    watched(n, version, { annotations: { ...annotationsOf(n), [DATA]: '{"VNI":"x"}' } });

  test("leave the last good lease in place, and are told, until the Node is deleted", () => {
    const records = recordsOf(nodeOf(1, 1));
    const [good] = records.candidates;
    records.put(bad(1, 2));
    expect(records.candidates.some((candidate) => candidate === good)).toBe(true);
    expect(seen(records)).toEqual({
      leases: ["n1"],
      rejected: [expect.stringContaining(`n1: annotation ${DATA}.VNI must be`)],
    });
    records.put(watched(1, 3, { annotations: {} }));
    expect(seen(records)).toEqual({ leases: ["n1"], rejected: [expect.stringContaining("kube-subnet-manager")] });
    records.put(watched(1, 4));
    expect(records.candidates).toEqual(good === undefined ? [] : [good]);
    expect(records.candidates[0] === good).toBe(true);
    records.put(bad(1, 5));
    records.delete("n1", "uid-1");
    expect(seen(records)).toEqual({ leases: [], rejected: [] });
    records.put(bad(1, 6));
    records.refresh(nodeOf(1, 6, bad(1, 6)));
    expect(seen(records).leases).toEqual([]);
  });

  test("of a Node that never had good ones leave it out", () => {
    expect(seen(recordsOf({ ...bad(1, 1), podCIDRs: ["10.244.1.0/24"] }))).toEqual({
      leases: [],
      rejected: [expect.stringContaining("VNI")],
    });
    expect(seen(recordsOf(nodeOf(1, 1, { annotations: {} })))).toEqual({ leases: [], rejected: [] });
  });

  test("of a Node that was made anew under its name leave it out as well", () => {
    const records = recordsOf(nodeOf(1, 1));
    records.put({ ...bad(1, 2), uid: "another", podCIDRs: ["10.244.9.0/24"] });
    expect(seen(records).leases).toEqual([]);
  });

  test("of our own Node are no lease: they are for us to mend", () => {
    const own = nodeOf(1, 1, { name: "own" });
    const records = recordsOf(own);
    expect(seen(records).leases).toEqual(["own"]);
    records.put({ ...bad(1, 2), name: "own" });
    expect(seen(records)).toEqual({ leases: [], rejected: [expect.stringContaining("own: ")] });
    records.put(watched(1, 3, { name: "own", annotations: {} }));
    expect(seen(records)).toEqual({ leases: [], rejected: [] });
  });
});

test("our own lease is none while it must be published anew; that of others is not asked for", () => {
  const node = nodeOf(1, 1, { name: "own", annotations: { ...annotationsOf(1), [OVERWRITE]: "198.51.100.1" } });
  expect(seen(recordsOf(node))).toEqual({ leases: [], rejected: [expect.stringContaining("asks for 198.51.100.1")] });
  expect(seen(recordsOf({ ...node, name: "other" })).leases).toEqual(["other"]);
  expect(seen(recordsOf({ ...node, annotations: annotationsOf(1) })).leases).toEqual(["own"]);
});

test("our own lease stays where what is asked for makes no sense, and that is told", () => {
  const annotations = { ...annotationsOf(1), [OVERWRITE]: "nonsense" };
  const records = recordsOf(nodeOf(1, 1, { name: "own" }), nodeOf(1, 2, { name: "own", annotations }));
  expect(seen(records)).toEqual({ leases: ["own"], rejected: ["own: asks for nonsense"] });
  records.put(nodeOf(1, 3, { name: "own" }));
  expect(seen(records)).toEqual({ leases: ["own"], rejected: [] });
});

test("Nodes that a complete list does not have are gone; one of another UID is not deleted in its place", () => {
  const records = recordsOf(nodeOf(1, 1), nodeOf(2, 2), nodeOf(3, 3));
  records.retain(new Set(["n2", "n3"]));
  records.delete("n3", "uid-of-before");
  expect(seen(records).leases).toEqual(["n2", "n3"]);
});
