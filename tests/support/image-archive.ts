import * as v from "valibot";

const Descriptor = v.object({ mediaType: v.string(), digest: v.string(), size: v.number() });
const Index = v.object({
  manifests: v.tuple([
    v.object({ ...Descriptor.entries, annotations: v.object({ "io.containerd.image.name": v.string() }) }),
  ]),
});
const Manifest = v.object({ config: Descriptor, layers: v.array(Descriptor) });
const Config = v.looseObject({
  config: v.object({
    Entrypoint: v.array(v.string()),
    Env: v.array(v.string()),
    Labels: v.record(v.string(), v.string()),
  }),
});

/** Reads an OCI archive with one image in it. @throws Error if it is none, or a size in it is wrong */
export function readArchive(content: Uint8Array) {
  const files = untar(content);
  const bytes = (name: string) => {
    const found = files.get(name);
    if (found === undefined) throw new Error(`the archive has no ${name}, but ${[...files.keys()].join(", ")}`);
    return found;
  };
  const text = (name: string) => new TextDecoder().decode(bytes(name));
  const blob = ({ digest, size }: v.InferOutput<typeof Descriptor>) => {
    const found = bytes(`blobs/${digest.replace(":", "/")}`);
    if (found.length !== size) throw new Error(`${digest} has ${found.length} bytes, not ${size}`);
    return found;
  };
  const json = (data: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(data));
  const [head] = v.parse(Index, json(bytes("index.json"))).manifests;
  const manifest = v.parse(Manifest, json(blob(head)));
  return {
    names: [...files.keys()],
    name: head.annotations["io.containerd.image.name"],
    bytes,
    text,
    manifest: { ...manifest, digest: head.digest },
    config: v.parse(Config, json(blob(manifest.config))),
    /** tar archives */
    layers: manifest.layers.map((layer) => Bun.gunzipSync(blob(layer))),
  };
}

/** The plain files of a ustar archive, without its long names. */
function untar(archive: Uint8Array): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const field = (at: number, length: number) =>
    new TextDecoder().decode(archive.subarray(at, at + length)).replace(/\0.*/s, "");
  for (let at = 0; archive[at] !== 0 && at < archive.length; ) {
    const size = Number.parseInt(field(at + 124, 12), 8);
    const start = at + 512;
    if (field(at + 156, 1) === "0") files.set(field(at, 100), archive.slice(start, start + size));
    at = start + Math.ceil(size / 512) * 512;
  }
  return files;
}
