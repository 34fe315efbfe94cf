// What a person does: two people sign up on the page, talk, reload, and find everything.
import assert from "node:assert";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { chromium } from "playwright-core";
import { rest } from "./lib/client.mjs";
import { build, Server, until } from "./lib/server.mjs";

const executablePath = process.env.CHROMIUM || "/usr/bin/chromium";

const launch = () => chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** A server and a browser, for as long as the test. */
async function begin(t, options) {
  const server = await new Server(options).start(), browser = await launch();
  t.after(async () => {
    await browser.close();
    await server.remove();
  });
  return { server, browser };
}

async function startWith(page, name) {
  await page.getByLabel("New conversation with").fill(name);
  await page.getByRole("button", { name: "Start" }).click();
}

/** Signs up in a browser context of its own; what the page complains about goes to `errors`. */
async function person(browser, server, name, errors = []) {
  const page = await (await browser.newContext()).newPage();
  page.on("pageerror", (e) => errors.push(`${name}: ${e.message}`));
  page.on("console", (m) => m.type() === "error" && !m.text().includes("401") && errors.push(`${name}: ${m.text()}`));
  await page.goto(server.base);
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Password").fill("correct horse");
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.locator("#me").getByText(name).waitFor();
  return page;
}

async function say(page, text) {
  await page.getByPlaceholder("Write a message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const hears = (page, text) => page.locator("#messages li").filter({ hasText: text }).waitFor();
const texts = (page) => page.locator("#messages li:not(.note)").evaluateAll((all) => all.map((li) => li.firstChild.textContent));

test("two people sign up, talk, reload and find everything", { timeout: 120000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 4 });
  const errors = [];

  const ann = await person(browser, server, "ann", errors);
  const bob = await person(browser, server, "bob", errors);
  await startWith(ann, "bob");
  await ann.getByRole("heading", { name: "bob" }).waitFor();
  await say(ann, "Hello Bob <b>not bold</b>");
  await bob.getByRole("button", { name: /ann/ }).click();
  await hears(bob, "Hello Bob <b>not bold</b>");

  await bob.getByPlaceholder("Write a message").pressSequentially("Hel");
  await ann.getByText("bob is typing…").waitFor();
  await say(bob, "Hello Ann, how are you?");
  await hears(ann, "Hello Ann, how are you?");
  for (let i = 0; i < 60; i++) await say(i % 2 ? ann : bob, `line ${i}`);
  await hears(ann, "line 59");
  await hears(bob, "line 59");
  assert.equal(await ann.locator("#messages li", { hasText: "sending" }).count(), 0);

  for (const page of [ann, bob]) { // no script can read who is logged in here
    const cookies = await page.context().cookies();
    assert.deepEqual(cookies.map((c) => [c.name, c.httpOnly, c.sameSite]).sort(), [["palaver_access", true, "Lax"], ["palaver_refresh", true, "Lax"]]);
    assert.equal(await page.evaluate(() => document.cookie + localStorage.length + sessionStorage.length), "00");
  }
  for (const [page, other] of [[ann, "bob"], [bob, "ann"]]) {
    await page.reload();
    await page.getByRole("button", { name: other }).click();
    await hears(page, "line 59");
    await page.getByRole("button", { name: "Show earlier messages" }).click();
    await hears(page, "Hello Bob <b>not bold</b>");
    const lines = await texts(page);
    assert.equal(lines.length, 62);
    assert.equal(lines[0], "Hello Bob <b>not bold</b>");
    assert.equal(lines[1], "Hello Ann, how are you?");
    assert.equal(new Set(lines).size, 62);
  }
  await ann.screenshot({ path: path.join(build, "page.png") });
  await ann.emulateMedia({ colorScheme: "dark" });
  await ann.screenshot({ path: path.join(build, "page-dark.png") });
  await ann.emulateMedia({ colorScheme: "light" });
  await ann.setViewportSize({ width: 390, height: 800 });
  await ann.screenshot({ path: path.join(build, "page-phone.png") });

  await ann.getByRole("button", { name: "Back" }).click();
  await ann.getByRole("button", { name: "Log out" }).click();
  await ann.getByRole("button", { name: "Sign up" }).waitFor();
  await ann.getByLabel("Username").fill("ann");
  await ann.getByLabel("Password").fill("wrong password");
  await ann.getByRole("button", { name: "Log in" }).click();
  await ann.getByText("Wrong username or password").waitFor();
  assert.deepEqual(errors, []);
});

test("what is written while the server is away arrives once, when it is back", { timeout: 120000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2 });
  const ann = await person(browser, server, "ann");
  const bob = await person(browser, server, "bob");
  await startWith(ann, "bob");
  await say(ann, "before");
  await bob.getByRole("button", { name: /ann/ }).click();
  await hears(bob, "before");

  await server.stop();
  await ann.getByText("connecting…").waitFor();
  await say(ann, "meanwhile");
  await ann.locator("#messages li", { hasText: "sending…" }).waitFor();
  await server.start();
  await hears(bob, "meanwhile");
  await ann.locator("#messages li", { hasText: "sending…" }).waitFor({ state: "detached" });
  for (const page of [ann, bob]) assert.deepEqual(await texts(page), ["before", "meanwhile"]);
});

test("a group: everybody hears everybody, and a wrong name is explained", { timeout: 120000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2 });
  const pages = [];
  for (const name of ["ann", "bob", "cy"]) pages.push(await person(browser, server, name));
  const [ann, bob, cy] = pages;
  await startWith(ann, "nobody");
  await ann.getByText("There is no user called nobody.").waitFor();
  await ann.getByLabel("New conversation with").fill("bob, cy");
  await ann.getByRole("button", { name: "Start" }).click();
  for (const page of [bob, cy]) await page.getByRole("button", { name: "bob, cy" }).click();
  for (const page of pages) {
    const text = `from page ${pages.indexOf(page)}`;
    await say(page, text);
    for (const other of pages) await hears(other, text);
  }
  for (const page of pages) assert.deepEqual(await texts(page), ["from page 0", "from page 1", "from page 2"]);

  bob.on("dialog", (dialog) => dialog.accept());
  await bob.getByRole("button", { name: "Leave" }).click();
  for (const page of [ann, cy]) await hears(page, "bob left");
  // Cy's page asks what is new and has the answer only when it has heard of the removal.
  let late;
  const asked = new Promise((resolve) => {
    late = cy.route(/\/v1\/conversations\/cnv_[^/]+$/, async (route) => {
      const response = await route.fetch();
      resolve();
      await cy.getByRole("heading", { name: "Choose a conversation" }).waitFor();
      await route.fulfill({ response });
    });
  });
  await late;
  const answered = cy.waitForEvent("requestfinished", (r) => /\/conversations\/cnv_[^/]+$/.test(r.url()));
  await ann.evaluate(() => rest("PATCH", `/conversations/${state.current.id}`, { name: "tea" }));
  await asked;
  await ann.evaluate(() => {
    const c = state.current;
    return rest("DELETE", `/conversations/${c.id}/members/${c.members.find((m) => m.username === "cy").user_id}`);
  });
  await answered;
  for (const text of ["ann named it tea", "ann removed cy"]) await hears(ann, text);
  await ann.getByRole("heading", { name: "tea" }).waitFor();
  for (const page of [bob, cy]) {
    await page.getByRole("heading", { name: "Choose a conversation" }).waitFor();
    assert.equal(await page.locator("#conversations li").count(), 0);
    assert.equal(await page.locator("#messages li").count(), 0);
  }
});

test("a login goes on when its access token has expired, and ends by logging out", { timeout: 60000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2, conf: "accounts { hash_cost = 1 access_ttl = 2s }" });
  const errors = [];
  const page = await person(browser, server, "ann", errors);
  await person(browser, server, "bob", errors);
  const expired = () => until("the browser has dropped the access token", async () => !(await page.context().cookies()).some((c) => c.name === "palaver_access"));
  await expired();
  await startWith(page, "bob");
  await page.getByRole("heading", { name: "bob" }).waitFor();
  await expired();
  await page.reload();
  await page.locator("#me").getByText("ann").waitFor();
  await page.getByRole("button", { name: "bob" }).click();
  await say(page, "still here");
  await hears(page, "still here");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.deepEqual(errors, []);
});

test("where people are invited, the page asks for the invitation", { timeout: 60000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2, conf: "accounts { hash_cost = 1 signup = invite }" });
  const { code } = JSON.parse(server.ctl(["--json", "invite", "add"]).stdout).data;
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.base);
  const invitation = page.getByLabel("Invitation");
  await page.getByLabel("Username").fill("ann");
  await page.getByLabel("Password").fill("correct horse");
  assert.equal(await invitation.isVisible(), false);
  const signUp = () => page.getByRole("button", { name: "Sign up" }).click();
  await signUp();
  await page.getByText("invitation (required)").waitFor();
  await invitation.fill("no such code");
  await signUp();
  await page.getByText("The invitation is unknown, used up or expired").waitFor();
  await invitation.fill(code);
  await signUp();
  await page.locator("#me").getByText("ann").waitFor();
});

test("a cut socket comes back, also with a token that has expired; an ended login leads to the door", { timeout: 90000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2, conf: "accounts { hash_cost = 1 access_ttl = 2s }" });
  const page = await person(browser, server, "ann");
  await person(browser, server, "bob");
  await startWith(page, "bob");
  await page.getByRole("heading", { name: "bob" }).waitFor();
  const expired = () => until("the browser has dropped the access token", async () => !(await page.context().cookies()).some((c) => c.name === "palaver_access"));
  const talks = async (text) => {
    await page.locator("#connection").filter({ hasText: /^$/ }).waitFor({ state: "attached" });
    await say(page, text);
    await hears(page, text);
    await until(`"${text}" is sent`, async () => (await page.locator("#messages li", { hasText: "sending" }).count()) === 0);
  };
  await talks("one");
  await expired();
  for (const { pid } of server.processes("worker")) process.kill(pid, "SIGKILL");
  await page.getByText("connecting…").waitFor();
  await talks("two");
  await expired();
  assert.equal(server.ctl(["kick", "ann"]).status, 0);
  await page.getByText("connecting…").waitFor();
  await talks("three");
  const { body } = await rest(server.base, "POST", "/v1/auth/login", { body: { username: "ann", password: "correct horse" } });
  assert.equal((await rest(server.base, "DELETE", "/v1/users/me/sessions", { token: body.access_token })).status, 204);
  await page.getByRole("button", { name: "Log in" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
});

test("a message is edited, reacted to and deleted, and what is unread is counted", { timeout: 120000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 4 });
  const errors = [];
  const ann = await person(browser, server, "ann", errors);
  const bob = await person(browser, server, "bob", errors);
  for (const page of [ann, bob]) page.on("dialog", (d) => d.accept());
  await startWith(ann, "bob");
  for (const text of ["first", "second", "third"]) await say(ann, text);
  await bob.getByLabel("3 unread").waitFor();
  await bob.reload(); // the count is the server's
  await bob.getByLabel("3 unread").waitFor();
  await bob.getByRole("button", { name: /ann/ }).click();
  await bob.getByLabel("3 unread").waitFor({ state: "detached" });

  const line = (page, text) => page.locator("#messages li").filter({ hasText: text });
  const act = async (page, text, name) => {
    await line(page, text).getByRole("button", { name: "Message actions" }).click();
    await line(page, text).locator(".choices").getByRole("button", { name }).click();
  };
  await act(ann, "first", "Edit");
  await ann.getByText("Editing a message.").waitFor();
  await say(ann, "first again");
  await line(bob, "first again").filter({ hasText: "edited" }).waitFor();
  await act(bob, "second", "🎉");
  await line(ann, "second").getByRole("button", { name: "🎉 1" }).click();
  await line(bob, "second").getByRole("button", { name: "🎉 2" }).click();
  await line(ann, "second").getByRole("button", { name: "🎉 1" }).waitFor();
  assert.equal(await line(bob, "third").getByRole("button", { name: "Delete" }).count(), 0);
  await act(ann, "third", "Delete");
  await hears(bob, "This message was deleted");
  const expected = ["first again", "second", "This message was deleted"];
  for (const page of [ann, bob]) assert.deepEqual(await texts(page), expected);
  for (const page of [ann, bob]) {
    await page.reload();
    await page.getByRole("button", { name: page === ann ? "bob" : "ann" }).click();
    await line(page, "second").getByRole("button", { name: "🎉 1" }).waitFor();
    assert.deepEqual(await texts(page), expected);
    assert.equal(await page.locator("#conversations .unread").count(), 0);
  }
  assert.deepEqual(errors, []);
});

test("who reads one conversation and at once another has read both", { timeout: 60000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2 });
  const ann = await person(browser, server, "ann");
  const bob = await person(browser, server, "bob");
  await startWith(ann, "bob");
  await say(ann, "one");
  await ann.evaluate(() => rest("POST", "/conversations", { type: "group", name: "tea", members: [state.current.members.find((m) => m.username === "bob").user_id] }));
  await ann.getByRole("button", { name: "tea" }).click();
  await say(ann, "two");
  await bob.getByLabel("1 unread").nth(1).waitFor();
  await bob.evaluate(() => document.querySelectorAll("#conversations button").forEach((b) => b.click()));
  await until("the server knows", () => bob.evaluate(async () => (await rest("GET", "/conversations")).items.every((c) => c.unread_count === 0)));
});

/** A PNG, three pixels wide. */
const picture = async (page) => Buffer.from(await page.evaluate(() => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [3, 2];
  return canvas.toDataURL("image/png").split(",")[1];
}), "base64");

/** Has a file dropped, or pasted, as a browser tells of it. */
const give = (page, how, name, type, where) => page.locator(where).evaluate((at, [how, name, type]) => {
  const data = new DataTransfer();
  data.items.add(new File(["given"], name, { type }));
  const options = { bubbles: true, cancelable: true };
  return at.dispatchEvent(how === "paste" ? new ClipboardEvent(how, { ...options, clipboardData: data }) : new DragEvent(how, { ...options, dataTransfer: data }));
}, [how, name, type]);

test("files: chosen, dropped and pasted, taken away, refused, seen by the other, and gone with the message", { timeout: 120000 }, async (t) => {
  const { server, browser } = await begin(t, { workers: 2, conf: "files { max_size = 1M }\naccounts { hash_cost = 1 access_ttl = 2s }" });
  const errors = [];
  const ann = await person(browser, server, "ann", errors);
  const bob = await person(browser, server, "bob", errors);
  ann.on("dialog", (d) => d.accept());
  await startWith(ann, "bob");
  await bob.getByRole("button", { name: /ann/ }).click();
  const chips = ann.getByRole("list", { name: "Attached files" }).getByRole("listitem");
  const chip = (name) => chips.filter({ hasText: name });
  const choose = async (...files) => {
    const chooser = ann.waitForEvent("filechooser");
    await ann.getByRole("button", { name: "Attach files" }).click();
    await (await chooser).setFiles(files);
  };
  const text = (name, body = "words") => ({ name, mimeType: "text/plain", buffer: Buffer.from(body) });
  const uploads = [];
  ann.on("response", async (r) => r.request().method() === "POST" && r.url().includes("/v1/files?") && r.ok() && uploads.push(await r.json()));
  const send = () => ann.getByRole("button", { name: "Send" }).click();
  const expired = (page) => until("the browser has dropped the access token", async () => !(await page.context().cookies()).some((c) => c.name === "palaver_access"));

  // Chips: taken away, also at the server; too large; kept with the conversation; at most ten.
  await choose(text("wrong.txt"));
  await chip("wrong.txt").getByText("5 bytes").waitFor();
  const wrong = await until("its id is known", () => uploads.find((f) => f.name === "wrong.txt"));
  await chip("wrong.txt").getByRole("button", { name: "Remove wrong.txt" }).press("Enter");
  assert.equal(await chips.count(), 0);
  await until("the server has removed it", () => ann.evaluate((id) => rest("GET", `/files/${id}`).then(() => false, (e) => e.problem.status === 404), wrong.id));
  await choose(text("large.txt", "x".repeat((1 << 20) + 1)));
  await chip("large.txt").getByText("Too Large").waitFor();
  await send();
  await ann.getByText("A file was not uploaded").waitFor();
  await ann.getByRole("button", { name: "Remove large.txt" }).click();
  assert.equal(await chips.count(), 0);
  await ann.evaluate(() => rest("POST", "/conversations", { type: "group", name: "tea", members: [state.current.members.find((m) => m.username === "bob").user_id] }));
  await choose(text("kept.txt"));
  await ann.getByRole("button", { name: "tea" }).click();
  assert.equal(await chips.count(), 0);
  await choose(...Array.from({ length: 11 }, (_, i) => text(`many-${i}.txt`)));
  await ann.getByText("at most 10 files").waitFor();
  assert.equal(await chips.count(), 10);
  for (let i = 0; i < 10; i++) await chip(`many-${i}.txt`).getByText("5 bytes").waitFor(); // few at once, and none refused
  await ann.locator("#conversations").getByRole("button", { name: "bob" }).click();
  assert.deepEqual(await chips.locator(".name").allTextContents(), ["kept.txt"]);
  await ann.getByRole("button", { name: "Remove kept.txt" }).click();

  // What cannot be uploaded now can be later; a send waits for what is being uploaded.
  await ann.route(/\/v1\/files\?/, (route) => route.abort());
  await choose(text("plan.txt", "the plan"));
  await chip("plan.txt").getByText("The server does not answer").waitFor();
  await ann.unroute(/\/v1\/files\?/);
  let arrive;
  const arrived = new Promise((f) => (arrive = f));
  await ann.route(/\/v1\/files\?/, (route) => arrived.then(() => route.continue()));
  await ann.getByRole("button", { name: "Try again: plan.txt" }).click();
  await choose({ name: "tea.png", mimeType: "image/png", buffer: await picture(ann) });
  await chip("tea.png").getByText("uploading…").waitFor();
  await send();
  await ann.getByText("The message goes when its files are uploaded").waitFor();
  // What waits is this conversation's, and goes to no other.
  await ann.locator("#text").evaluate((e) => (e.value = "for bob"));
  await ann.locator("#conversations").getByRole("button", { name: "tea" }).click();
  assert.equal(await ann.locator("#text").inputValue(), "");
  await ann.locator("#conversations").getByRole("button", { name: "bob" }).click();
  assert.equal(await ann.locator("#text").inputValue(), "for bob");
  await ann.locator("#text").fill("");
  await send();
  await ann.getByText("The message goes when its files are uploaded").waitFor();
  assert.equal(await ann.locator("#messages li:not(.note)").count(), 0);
  await expired(bob); // his browser fetches the picture without a login, and the text
  arrive();
  const img = (page) => page.locator("#messages").getByRole("link", { name: "tea.png" }).getByRole("img", { name: "tea.png" });
  for (const page of [bob, ann]) await until("the picture is there", () => img(page).evaluate((i) => i.naturalWidth === 3));
  assert.equal(await chips.count(), 0);
  await ann.getByText("The message goes when").waitFor({ state: "hidden" });
  await expired(bob);
  const save = bob.waitForEvent("download");
  await bob.getByRole("link", { name: "plan.txt (8 bytes)" }).click();
  const saved = await save;
  assert.equal(saved.suggestedFilename(), "plan.txt");
  assert.equal(fs.readFileSync(await saved.path(), "utf8"), "the plan");
  await expired(bob);
  const whole = bob.waitForEvent("popup");
  await img(bob).click();
  await until("all of the picture is shown", async () => (await whole).evaluate(() => document.images[0]?.naturalWidth === 3));
  await ann.screenshot({ path: path.join(build, "page-files.png") });

  // Dropped and pasted; a message that waits names its files.
  assert.equal(await give(ann, "paste", "pasted.png", "image/png", "#text"), false);
  assert.equal(await give(ann, "drop", "dropped.bin", "", "#messages"), false);
  assert.equal(await give(ann, "drop", "missed.bin", "", "#me"), false, "the page stays");
  for (const name of ["pasted.png", "dropped.bin"]) await chip(name).getByText("5 bytes").waitFor();
  assert.equal(await chips.count(), 2);
  await ann.evaluate(() => state.socket.disconnect());
  await say(ann, "with words");
  await ann.locator("#messages .pending", { hasText: "pasted.png, dropped.bin" }).waitFor();
  await ann.evaluate(() => state.socket.connect());
  await bob.locator("#messages li", { hasText: "with words" }).getByRole("link", { name: "dropped.bin (5 bytes)" }).waitFor();

  const old = ann.locator("#messages li", { has: ann.getByRole("link", { name: "plan.txt" }) });
  await old.getByRole("button", { name: "Message actions" }).click();
  await old.getByRole("button", { name: "Delete" }).click();
  await hears(bob, "This message was deleted");
  for (const page of [ann, bob]) {
    await img(page).waitFor({ state: "detached" });
    assert.equal(await page.getByRole("link", { name: "plan.txt" }).count(), 0);
  }
  await bob.reload();
  await bob.getByRole("button", { name: "ann" }).click();
  await hears(bob, "This message was deleted");
  assert.deepEqual(await bob.locator("#messages").getByRole("link").allTextContents(), ["", "dropped.bin (5 bytes)"]);
  assert.deepEqual(errors.filter((e) => !/40[14]|413|ERR_FAILED/.test(e)), []); // those were meant
});
