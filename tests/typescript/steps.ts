// The steps of the workflows that the tests run: plain functions, the same for both APIs.

import { appendFileSync, existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

// Begins, waits until the file `go` exists, and ends; each with a line in the file `log`.
export async function slow(_ctx: unknown, folder: string): Promise<number> {
  appendFileSync(`${folder}/log`, `begun by ${process.pid}\n`);
  while (!existsSync(`${folder}/go`)) await setTimeout(10);
  appendFileSync(`${folder}/log`, `done by ${process.pid}\n`);
  return process.pid;
}

export async function finish(_ctx: unknown, folder: string, first: number, answer: unknown): Promise<unknown> {
  appendFileSync(`${folder}/log`, `finished by ${process.pid}\n`);
  return { first, last: process.pid, answer };
}

export async function repeat(_ctx: unknown, folder: string, length: number): Promise<string> {
  appendFileSync(`${folder}/log`, "repeated\n");
  return "x".repeat(length);
}

export async function whoami(): Promise<number> {
  return process.pid;
}

// What became of an await that did not succeed; a promise that nobody answered in time says nothing.
export function handled(error: unknown): string {
  return error instanceof Error ? error.message : "nobody answered in time";
}
