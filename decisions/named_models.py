"""The models of a store by name: each has a champion and a challenger of its own."""

from __future__ import annotations

from pathlib import Path

from obligor.decisions.champion import Champion, ChampionLoader
from obligor.errors import ModelError, UnknownModelError
from obligor.model.bundle import MODEL_NAME, SHADOW_POINTER, champion_names


class NamedModels:
    """Loads the models of a store by name.

    Parameters
    ----------
    champions : ChampionLoader
        Loads the champion that has no name of its own; its store holds the others.
    """

    def __init__(self, champions: ChampionLoader) -> None:
        self._default = champions
        self._champions = dict[str, ChampionLoader]()
        self._challengers = dict[str, ChampionLoader]()

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self._default.store

    def names(self) -> list[str]:
        """Return the names that have a champion, sorted."""
        return champion_names(self._default.store)

    def champion(self, name: str | None = None) -> Champion:
        """Return the champion of a name, or the one without a name of its own.

        Raises
        ------
        UnknownModelError
            If the store has no champion of this name, but has others.
        ModelError
            If the store has no champion at all.
        """
        if name in (None, MODEL_NAME):
            return self._without_name()
        assert name is not None
        names = self.names()
        if name not in names:
            raise UnknownModelError(
                "there is no model of this name",
                where="model",
                expected=_one_of(names),
            )
        return self._loader(name).current()

    def is_ready(self) -> bool:
        """Return whether any model can score."""
        for name in self.names():
            try:
                self.champion(name)
            except ModelError:
                continue
            return True
        return False

    def challenger(self, name: str) -> Champion | None:
        """Return the model that scores in the shadow of a name, None without one."""
        loader = self.challengers(name)
        if not loader.has_pointer():
            return None
        try:
            return loader.current()
        except ModelError:
            return None

    def challengers(self, name: str) -> ChampionLoader:
        """Return what loads the challenger of a name."""
        if name not in self._challengers:
            self._challengers[name] = ChampionLoader(
                self._default.store,
                self._default.trusted,
                SHADOW_POINTER,
                name,
            )
        return self._challengers[name]

    def _without_name(self) -> Champion:
        try:
            return self._default.current()
        except ModelError:
            names = self.names()
            if not names:
                raise
            raise UnknownModelError(
                "there is no champion without a name of its own",
                where="model",
                expected=_one_of(names),
                do="name the model",
            ) from None

    def _loader(self, name: str) -> ChampionLoader:
        if name not in self._champions:
            self._champions[name] = ChampionLoader(
                self._default.store,
                self._default.trusted,
                name=name,
            )
        return self._champions[name]


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(names)}" if names else "a model that was promoted"
