import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import manifest from "../../package.json";
import { archive } from "../../scripts/image/archive.ts";
import { config, timestamp } from "../../scripts/image/config.ts";
import { layer } from "../../scripts/image/layer.ts";
import { ARCHITECTURES, PLATFORMS, RUNTIME_VERSION } from "../../scripts/image/platforms.ts";
import { IMAGE } from "../../scripts/image/reference.ts";
import { file } from "../../scripts/image/tree.ts";
import { readArchive } from "../support/image-archive.ts";
import { origin } from "./samples.ts";

const layers = ["one", "two"].map((name) => layer(name, new Map([[name, file(name)]]), origin.epoch));

describe.each(ARCHITECTURES)("the archive for %s", (architecture) => {
  const platform = PLATFORMS[architecture];
  const made = archive(IMAGE, platform, config(platform, layers, origin), layers, origin.epoch);
  const read = readArchive(made.content);

  test("is an OCI image layout, whose blobs are what their names say", () => {
    expect(read.text("oci-layout")).toBe('{"imageLayoutVersion":"1.0.0"}');
    const blobs = read.names.filter((name) => name.startsWith("blobs/sha256/"));
    expect(blobs.length).toBe(4);
    for (const name of blobs) {
      const digest = new Bun.CryptoHasher("sha256").update(read.bytes(name)).digest("hex");
      expect(name).toBe(`blobs/sha256/${digest}`);
    }
    expect(read.manifest.digest).toBe(made.digest);
    expect(read.manifest.layers.map(({ digest }) => digest)).toEqual(layers.map(({ digest }) => digest));
  });

  test("carries the whole name for containerd and for docker", () => {
    expect(read.name).toBe(IMAGE);
    const docker = v.parse(
      v.tuple([v.object({ Config: v.string(), RepoTags: v.array(v.string()), Layers: v.array(v.string()) })]),
      JSON.parse(read.text("manifest.json")),
    );
    expect(docker[0].RepoTags).toEqual([IMAGE]);
    expect(docker[0].Layers).toEqual(layers.map(({ digest }) => `blobs/${digest.replace(":", "/")}`));
    expect(read.names).toContain(docker[0].Config);
  });

  test("says what it is and how it is started", () => {
    const { config, ...rest } = read.config;
    expect(rest).toMatchObject({
      architecture,
      os: "linux",
      created: "2023-11-14T22:13:20Z",
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    });
    expect(config.Entrypoint).toEqual(["/usr/local/bin/tartan"]);
    expect(config.Env).toEqual([expect.stringMatching(/^PATH=.*\/usr\/sbin:/)]);
    expect(config.Labels).toMatchObject({
      "org.opencontainers.image.title": "tartan",
      "org.opencontainers.image.version": origin.version,
      "org.opencontainers.image.revision": "0123456789abcdef",
      "org.opencontainers.image.licenses": manifest.license,
      "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
    });
  });

  test("is the same again", () => {
    expect(archive(IMAGE, platform, config(platform, layers, origin), layers, origin.epoch)).toEqual(made);
  });
});

test("the image's tag is the version", () => {
  expect(IMAGE).toBe(`ghcr.io/tartan-net/tartan:v${manifest.version}`);
});

test("Bun in the images is the Bun of the project", () => {
  expect(RUNTIME_VERSION).toBe(manifest.devDependencies.bun);
});

test("a time is told to the second", () => {
  expect([0, 1_700_000_000].map(timestamp)).toEqual(["1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z"]);
});
