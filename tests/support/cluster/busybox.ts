import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { archive } from "../../../scripts/image/archive.ts";
import { layer } from "../../../scripts/image/layer.ts";
import { PLATFORMS } from "../../../scripts/image/platforms.ts";
import { directory, file, symlink, type Tree } from "../../../scripts/image/tree.ts";

const ROOT = join(import.meta.dir, "..", "..", "..");
/** Of Debian's busybox-static, which the set-up unpacks. */
const BUSYBOX = join(ROOT, ".cache", "debs", "busybox-static", "bin", "busybox");
const COMMANDS = ["cat", "echo", "hostname", "httpd", "ip", "nc", "ping", "sh", "sleep", "true", "wget"];

/** What pods are made of here, and the container that holds a pod's namespaces. */
export const BUSYBOX_IMAGE = "tartan.test/busybox:1";

export function busyboxMissing(): string | undefined {
  return existsSync(BUSYBOX) ? undefined : "busybox-static";
}

/** An image with busybox and nothing else, as an archive for `ctr images import`; by itself it sleeps. */
export function busyboxImage(): Uint8Array {
  const tree: Tree = new Map([
    ["bin/busybox", file(readFileSync(BUSYBOX), 0o755)],
    ...COMMANDS.map((name) => [`bin/${name}`, symlink("busybox")] as const),
    ...["dev", "etc", "proc", "sys", "tmp", "www"].map((name) => [name, directory()] as const),
  ]);
  const only = layer("busybox", tree, 0);
  const platform = PLATFORMS[process.arch === "arm64" ? "arm64" : "amd64"];
  const config = JSON.stringify({
    architecture: platform.architecture,
    os: "linux",
    config: { Env: ["PATH=/bin"], Entrypoint: ["/bin/sleep", "86400"] },
    rootfs: { type: "layers", diff_ids: [only.diffId] },
  });
  return archive(BUSYBOX_IMAGE, platform, config, [only], 0).content;
}
