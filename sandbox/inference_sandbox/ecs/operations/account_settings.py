"""Account settings: an account's, a principal's."""

from __future__ import annotations

from collections.abc import Mapping

from inference_sandbox.ecs import account_settings, views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page


class Settings:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutAccountSetting": self.put_account_setting,
            "PutAccountSettingDefault": self.put_account_setting_default,
            "DeleteAccountSetting": self.delete_account_setting,
            "ListAccountSettings": self.list_account_settings,
        }

    def put_account_setting(self, caller: Caller, request: Request) -> Response:
        principal = request.get("principalArn") or caller.arn
        self._accounts.settings(caller).put(principal, request["name"], request["value"])
        return {"setting": views.setting(request["name"], request["value"], principal)}

    def put_account_setting_default(self, caller: Caller, request: Request) -> Response:
        root = self._accounts.settings(caller).root
        self._accounts.settings(caller).put(root, request["name"], request["value"])
        return {"setting": views.setting(request["name"], request["value"], root)}

    def delete_account_setting(self, caller: Caller, request: Request) -> Response:
        principal = request.get("principalArn") or caller.arn
        value = self._accounts.settings(caller).delete(principal, request["name"])
        return {"setting": views.setting(request["name"], value, principal)}

    def list_account_settings(self, caller: Caller, request: Request) -> Response:
        """Those that the principal has of its own, or with `effectiveSettings` all that hold for it."""
        principal, wanted = request.get("principalArn") or caller.arn, request.get("value")
        if wanted is not None and request.get("name") is None:
            raise invalid_parameter("You must also specify an account setting name to use value.")
        settings, shown = self._accounts.settings(caller), []
        for name in [request["name"]] if request.get("name") else account_settings.DEFAULTS:
            look = settings.effective if request.get("effectiveSettings") else settings.own
            value = look(principal, name)
            if value is not None and wanted in (None, value):
                shown.append(views.setting(name, value, principal))
        return page(shown, request, "settings", 10)
