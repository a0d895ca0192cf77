import { join } from "node:path";
import * as v from "valibot";

export const MANIFESTS = join(import.meta.dir, "..", "..", "manifests");
export const PLAIN = join(MANIFESTS, "tartan.yml");

const KubeObject = v.looseObject({
  kind: v.string(),
  metadata: v.looseObject({ name: v.string(), labels: v.optional(v.record(v.string(), v.string()), {}) }),
});
export type KubeObject = v.InferOutput<typeof KubeObject>;

/** The objects of a YAML text with several documents, in the order of their kinds. */
export function objectsIn(text: string): KubeObject[] {
  const documents: unknown = Bun.YAML.parse(text);
  const objects = v.parse(v.array(KubeObject), Array.isArray(documents) ? documents : [documents]);
  return objects.sort((a, b) => a.kind.localeCompare(b.kind));
}

export async function plainObjects(): Promise<KubeObject[]> {
  return objectsIn(await Bun.file(PLAIN).text());
}

const Container = v.looseObject({
  name: v.string(),
  image: v.string(),
  command: v.optional(v.array(v.string()), []),
  args: v.optional(v.array(v.string()), []),
  env: v.optional(v.array(v.looseObject({ name: v.string() })), []),
});

/** What the tests look at of a DaemonSet. */
export const DaemonSet = v.object({
  kind: v.literal("DaemonSet"),
  metadata: v.looseObject({ name: v.string(), uid: v.optional(v.string()), generation: v.optional(v.number()) }),
  spec: v.object({
    selector: v.unknown(),
    template: v.object({
      spec: v.object({ containers: v.array(Container), initContainers: v.optional(v.array(Container), []) }),
    }),
  }),
});

export async function plainDaemonSet(): Promise<v.InferOutput<typeof DaemonSet>> {
  return v.parse(
    DaemonSet,
    (await plainObjects()).find(({ kind }) => kind === "DaemonSet"),
  );
}

export const ClusterRole = v.object({
  kind: v.literal("ClusterRole"),
  rules: v.array(
    v.object({ apiGroups: v.array(v.string()), resources: v.array(v.string()), verbs: v.array(v.string()) }),
  ),
});

export const ConfigMap = v.object({ kind: v.literal("ConfigMap"), data: v.record(v.string(), v.string()) });
