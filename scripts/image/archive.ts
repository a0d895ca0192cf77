// An image as one file that `ctr images import` and `docker load` take: an OCI image layout (image-layout.md) with the
// manifest.json of `docker save` beside its index, both of the same blobs.
import { type Blob, blob, type Layer } from "./layer.ts";
import type { Platform } from "./platforms.ts";
import { tar } from "./tar.ts";
import { file, type Tree } from "./tree.ts";

const OCI = "application/vnd.oci.image";

export interface Archive {
  readonly content: Uint8Array<ArrayBuffer>;
  /** of the image's manifest, as a registry would name the image */
  readonly digest: string;
}

/**
 * @param reference name and tag that an import gives the image
 * @param config the image's configuration
 * @param mtime seconds since 1970
 */
export function archive(
  reference: string,
  { architecture }: Platform,
  config: string,
  layers: readonly Layer[],
  mtime: number,
): Archive {
  const configBlob = blob(config);
  const manifest = blob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: descriptor(`${OCI}.config.v1+json`, configBlob),
      layers: layers.map((layer) => descriptor(`${OCI}.layer.v1.tar+gzip`, layer)),
    }),
  );
  const index = {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [
      {
        ...descriptor(`${OCI}.manifest.v1+json`, manifest),
        platform: { architecture, os: "linux", ...(architecture === "arm64" ? { variant: "v8" } : {}) },
        annotations: {
          // containerd takes the first for the whole name, others put the second after a name of their own.
          "io.containerd.image.name": reference,
          "org.opencontainers.image.ref.name": reference.slice(reference.lastIndexOf(":") + 1),
        },
      },
    ],
  };
  const forDocker = [{ Config: pathOf(configBlob), RepoTags: [reference], Layers: layers.map(pathOf) }];
  const tree: Tree = new Map([
    ["oci-layout", file(JSON.stringify({ imageLayoutVersion: "1.0.0" }))],
    ["index.json", file(JSON.stringify(index))],
    ["manifest.json", file(JSON.stringify(forDocker))],
    ...[configBlob, manifest, ...layers].map((one) => [pathOf(one), file(one.content)] as const),
  ]);
  return { content: tar(tree, mtime), digest: manifest.digest };
}

function descriptor(mediaType: string, { digest, content }: Blob) {
  return { mediaType, digest, size: content.length };
}

function pathOf({ digest }: Blob): string {
  return `blobs/${digest.replace(":", "/")}`;
}
