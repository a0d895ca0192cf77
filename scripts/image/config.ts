// What the image says of itself: OCI image specification 1.0, config.md.
import type { Layer } from "./layer.ts";
import type { Platform } from "./platforms.ts";

/** The executable in the image. The others are names of it, by which flannel's manifests and scripts start it. */
export const EXECUTABLE = "usr/local/bin/tartan";
export const NAMES = ["opt/bin/flanneld", "flannel"] as const;

/** iptables and ip6tables are in the sbin folders, `flanneld` in /opt/bin. */
export const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin";

/** What is known of the source that an image is made of. */
export interface Origin {
  /** as in `0.1.0+1a2b3c4d5e6f` */
  readonly version: string;
  /** the commit, if known */
  readonly revision: string | undefined;
  /** seconds since 1970 */
  readonly epoch: number;
}

export function timestamp(epoch: number): string {
  return new Date(epoch * 1000).toISOString().replace(/\.000Z$/, "Z");
}

export function labels({ version, revision, epoch }: Origin): Readonly<Record<string, string>> {
  return {
    "org.opencontainers.image.created": timestamp(epoch),
    "org.opencontainers.image.description": "A flannel-compatible pod network for Kubernetes, as one executable",
    "org.opencontainers.image.licenses": "Apache-2.0",
    ...(revision === undefined ? {} : { "org.opencontainers.image.revision": revision }),
    "org.opencontainers.image.title": "tartan",
    "org.opencontainers.image.version": version,
  };
}

/** @returns the JSON document */
export function config({ architecture }: Platform, layers: readonly Layer[], origin: Origin): string {
  const created = timestamp(origin.epoch);
  return JSON.stringify({
    created,
    architecture,
    ...(architecture === "arm64" ? { variant: "v8" } : {}),
    os: "linux",
    config: {
      Env: [`PATH=${PATH}`],
      Entrypoint: [`/${EXECUTABLE}`],
      WorkingDir: "/",
      Labels: labels(origin),
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ comment }) => ({ created, created_by: "bun build.ts image", comment })),
  });
}
