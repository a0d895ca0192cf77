import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { EXECUTABLE, labels, PATH } from "../../scripts/image/config.ts";
import { OF_DISTROLESS, PACKAGES } from "../../scripts/image/packages.ts";
import { IMAGE } from "../../scripts/image/reference.ts";
import { origin } from "./samples.ts";

const ROOT = join(import.meta.dir, "..", "..");

describe("manifests/Dockerfile", async () => {
  const text = await Bun.file(join(ROOT, "manifests", "Dockerfile")).text();
  /** Instructions, each on one line. */
  const lines = text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n")
    .filter(Boolean);

  test("names the image as the builder does, and starts it in the same way", () => {
    expect(text).toContain(` -t ${IMAGE} `);
    expect(lines).toContain(`ENTRYPOINT ["/${EXECUTABLE}"]`);
    expect(lines).toContain(`ENV PATH=${PATH}`);
    const own = labels(origin);
    const written = [...text.matchAll(/(org\.opencontainers\.\S+)="([^"]*)"/g)];
    expect(written.length).toBeGreaterThan(0);
    for (const [, name = "", value] of written) expect(own[name]).toBe(value);
  });

  test("takes from the builder what its base lacks", async () => {
    expect(lines).toContain("FROM gcr.io/distroless/base-debian12");
    const [, folder] = / --tree (\S+)/.exec(text) ?? [];
    expect(lines).toContain(`COPY --from=build ${folder}/ /`);
    expect(Object.keys(PACKAGES)).toEqual(expect.arrayContaining([...OF_DISTROLESS]));
    const help = Bun.spawn([process.execPath, "build.ts", "image", "--help"], { cwd: ROOT, stdout: "pipe" });
    const options = [...text.matchAll(/(?<=build\.ts image.*) (--\w+)/g)].map(([, option = ""]) => option);
    expect(options).toEqual(["--arch", "--tree"]);
    const known = await help.stdout.text();
    for (const option of options) expect(known).toContain(`\n  ${option} `);
  });

  test("leaves the builder's own files out of its context", async () => {
    const ignored = (await Bun.file(join(ROOT, "manifests", "Dockerfile.dockerignore")).text()).trim().split("\n");
    const generated = (await Bun.file(join(ROOT, ".gitignore")).text()).trim().replaceAll("/", "").split("\n");
    expect(ignored.sort()).toEqual(generated.sort());
  });
});
